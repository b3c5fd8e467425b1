"""The page as a browser shows it: what it says first, by mouse, by keyboard and on a phone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from conformance.cli import main
from reports import html
from reports.document import Document
from tests.chromium import log, missing, start
from tests.unit.judged_run import RUNS, judged

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    driver = start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report directory by the name of its run, and the comparison of two of them."""
    found = {name: judged(tmp_path_factory.mktemp(name), name) for name in RUNS}
    page = found["good"] / "compare.html"
    main(["compare", str(found["good"]), str(found["sabotaged"]), "--html", str(page)])
    return found


@pytest.fixture
def show(chromium: Chrome, runs: dict[str, Path]) -> Callable[..., Chrome]:
    """Opens a page, on a desktop unless a phone is asked for."""

    def opened(name: str, *, page: str = "report.html", phone: bool = False) -> Chrome:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        if phone:
            chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        chromium.get("about:blank")
        for name_of_log in ("browser", "performance"):
            log(chromium, name_of_log)
        chromium.get((runs[name] / page).as_uri())
        return chromium

    return opened


def one(within: Chrome | WebElement, selector: str) -> WebElement:
    return within.find_element(By.CSS_SELECTOR, selector)


def every(within: Chrome | WebElement, selector: str) -> list[WebElement]:
    return within.find_elements(By.CSS_SELECTOR, selector)


def requests(browser: Chrome) -> list[str]:
    """The addresses that were asked for since the page was opened."""
    events = (json.loads(each["message"])["message"] for each in log(browser, "performance"))
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def errors(browser: Chrome) -> list[str]:
    return [each["message"] for each in log(browser, "browser") if each["level"] != "INFO"]


@pytest.mark.parametrize("name", RUNS)
def test_no_script_fails_and_nothing_is_fetched(
    show: Callable[..., Chrome], runs: dict[str, Path], name: str
) -> None:
    browser = show(name)
    assert requests(browser) == [(runs[name] / "report.html").as_uri()]
    assert errors(browser) == []
    assert one(browser, "form.filter").is_displayed(), "the script did not run"


def test_what_a_page_must_not_do_is_noticed(show: Callable[..., Chrome], tmp_path: Path) -> None:
    """The twin of the test above: a page that fetches and fails."""
    browser = show("good")
    bad = tmp_path / "bad.html"
    bad.write_text("<script>fetch('http://127.0.0.1:9/'); nothing();</script>")
    browser.get(bad.as_uri())
    assert "http://127.0.0.1:9/" in requests(browser)
    assert any("nothing is not defined" in each for each in errors(browser))


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("good", "Conformant as far as asked"),
        ("sabotaged", "Not conformant"),
        ("inconclusive", "Inconclusive"),
    ],
)
def test_the_verdict_is_what_is_seen_first(
    show: Callable[..., Chrome], name: str, headline: str
) -> None:
    head = one(show(name), "h1")
    assert headline in head.text
    assert head.rect["y"] < 200


def test_the_first_card_names_the_culprit_and_the_pcpu(show: Callable[..., Chrome]) -> None:
    browser = show("sabotaged")
    card = every(browser, "article.card")[0]
    assert "PIN-THREADS" in one(card, "header").text
    assert "vCPU 1 may run on 2-3, not on exactly one pCPU" in one(card, ".message").text
    assert "case demo" in card.text
    assert "/proc/150/task/155/status" in one(card, "table.compared").text
    assert card.rect["y"] < 900, "it is not on the first screen"


def test_the_map_marks_the_violated_pcpu_and_no_other(show: Callable[..., Chrome]) -> None:
    card = every(show("sabotaged"), "article.card")[0]
    marked = every(card, ".box.marked")
    assert [each.text.split() for each in marked] == [["!2", "A·v0+v1"]]
    plain = every(card, ".box:not(.marked)")[0]
    outlines = {each.value_of_css_property("outline-style") for each in marked}
    assert outlines != {plain.value_of_css_property("outline-style")} or (
        marked[0].value_of_css_property("box-shadow") != plain.value_of_css_property("box-shadow")
    )
    assert "pCPU 2" in one(card, "ul.marks").text


@pytest.mark.parametrize("name", ["good", "inconclusive"])
def test_nothing_is_marked_where_nothing_is_wrong(show: Callable[..., Chrome], name: str) -> None:
    browser = show(name)
    assert every(browser, ".sockets .box")
    assert not every(browser, ".sockets .box.marked")
    assert not every(browser, "#fail")


def test_an_inconclusive_run_says_which_source_is_missing(show: Callable[..., Chrome]) -> None:
    browser = show("inconclusive")
    card = one(browser, "#not-observed article.card")
    assert "libvirt does not answer" in one(card, ".message").text


def test_the_keyboard_reaches_the_map_and_opens_what_is_folded(
    show: Callable[..., Chrome],
) -> None:
    browser = show("sabotaged")
    card = every(browser, "article.card")[0]
    region, fold = one(card, ".scroll[aria-label=map]"), one(card, "details.hand > summary")
    visited = []
    for _press in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        visited.append(browser.switch_to.active_element)
        if visited[-1] == fold:
            break
    assert region in visited
    assert fold in visited
    assert fold.value_of_css_property("outline-style") != "none"
    fold.send_keys(Keys.ENTER)
    assert "./conform run --cluster simulated -k '[demo]'" in one(card, "details.hand").text


def test_a_link_to_what_is_folded_brings_it_to_light(show: Callable[..., Chrome]) -> None:
    browser = show("sabotaged")
    card = every(browser, "article.card")[0]
    link = one(card, "a[href^='#case-']")
    target = str(link.get_attribute("href")).rpartition("#")[2]
    link.click()
    assert one(browser, f"#{target} .body").is_displayed()


def test_the_filter_leaves_the_cases_that_are_meant(show: Callable[..., Chrome]) -> None:
    browser = show("sabotaged")
    rows = every(browser, "details.case")
    one(browser, "form.filter input").send_keys("refused")
    shown = [each for each in rows if each.is_displayed()]
    assert 0 < len(shown) < len(rows)
    assert one(browser, "form.filter output").text == f"{len(shown)} of {len(rows)}"


@pytest.mark.parametrize("name", RUNS)
def test_nothing_overflows_on_a_phone(show: Callable[..., Chrome], name: str) -> None:
    browser = show(name, phone=True)
    # What is folded must fit as well.
    browser.execute_script(
        "for (const each of document.querySelectorAll('details')) each.open = true"
    )
    assert browser.execute_script("return innerWidth") == PHONE["width"]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_comparison_names_the_sabotage_and_fits_a_phone(show: Callable[..., Chrome]) -> None:
    browser = show("good", page="compare.html", phone=True)
    assert "PIN-THREADS" in one(browser, "#broke article.card").text
    assert errors(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"]


def test_no_text_of_a_cluster_is_run(
    chromium: Chrome, example: Callable[[str], Document], tmp_path: Path
) -> None:
    page = tmp_path / "hostile.html"
    page.write_text(html.render(example("hostile")), errors="surrogatepass")
    chromium.get("about:blank")
    for name in ("browser", "performance"):
        log(chromium, name)
    chromium.get(page.as_uri())  # an alert would make the next call fail
    assert requests(chromium) == [page.as_uri()]
    assert errors(chromium) == []
