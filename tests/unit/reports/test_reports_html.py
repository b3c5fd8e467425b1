import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from lxml import html as lxml_html

from reports import html
from reports.document import Document, Verdict

Example = Callable[[str], Document]
VOID = {"meta", "input", "br", "link", "img"}


class Strict(HTMLParser):
    """Raises on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()


def page(document: Document) -> lxml_html.HtmlElement:
    return lxml_html.document_fromstring(html.render(document))


def text(element: lxml_html.HtmlElement) -> str:
    return " ".join(str(element.text_content()).split())


def test_its_tags_nest(any_document: Document) -> None:
    parser = Strict()
    parser.feed(html.render(any_document))
    assert parser.open == []


def test_it_needs_nothing_from_elsewhere(any_document: Document) -> None:
    root = page(any_document)
    assert not root.xpath("//link | //img | //iframe | //*[@src]")
    assert "url(" not in html.render(any_document)
    assert "@import" not in html.render(any_document)
    for href in root.xpath("//@href"):
        assert not re.match(r"[a-z]+:|//", str(href)), href


def test_its_links_lead_somewhere(any_document: Document) -> None:
    root = page(any_document)
    ids = [str(name) for name in root.xpath("//@id")]
    assert len(ids) == len(set(ids))
    assert {str(h)[1:] for h in root.xpath("//@href") if str(h).startswith("#")} <= set(ids)


def test_it_runs_no_script_but_its_own(example: Example) -> None:
    hostile, harmless = page(example("hostile")), page(example("passing"))
    assert len(hostile.xpath("//script")) == 1
    assert hostile.xpath("string(//script)") == harmless.xpath("string(//script)")
    (policy,) = hostile.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/]+=*'", policy)
    assert not hostile.xpath("//@*[starts-with(name(), 'on')]")


def test_text_that_would_be_markup_is_shown_as_it_is(example: Example) -> None:
    shown = text(page(example("hostile")))
    assert "<script>alert('x')</script> & \"quoted\"" in shown
    assert "\\x1b[31m\\x00" in shown


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("passing", "Conformant"),
        ("failing", "Not conformant"),
        ("inconclusive", "Inconclusive"),
        ("interrupted", "Interrupted"),
        ("simulated", "Conformant (simulation)"),
    ],
)
def test_the_verdict_comes_first(example: Example, name: str, headline: str) -> None:
    document = example(name)
    (banner,) = page(document).xpath("//header[contains(@class, 'banner')]")
    assert text(banner.find(".//h1")).endswith(headline)
    assert document.conclusion.reason in text(banner)


def test_a_simulation_says_so_and_nothing_else_does(example: Example) -> None:
    assert page(example("simulated")).xpath("//body/*[1][@class='simulation']")
    assert "SIMULATION" not in text(page(example("passing")))


def test_failures_come_before_requirements_with_the_sets_and_their_sources(
    example: Example,
) -> None:
    document = example("failing")
    root = page(document)
    sections = [str(name) for name in root.xpath("//section/@id")]
    assert sections[0] == "fail"
    (section,) = root.xpath("//section[@id='fail']")
    for finding in document.findings:
        if finding.verdict is Verdict.FAIL:
            assert finding.message in text(section)
            for compared in finding.compared:
                for part in (compared.what, compared.value, compared.source):
                    assert part in text(section)


def test_what_stands_out_is_marked_beside_the_failure_and_says_who(example: Example) -> None:
    root = page(example("failing"))
    boxes = root.xpath("//section[@id='fail']//*[contains(@class, 'marked')]")
    assert [text(box) for box in boxes] == ["!4A·v2+emu"]
    (mark,) = root.xpath("//section[@id='fail']//ul[@class='marks']/li")
    assert text(mark).startswith("! pCPU 4 the emulator of vmi-isolate-1x2x2 and vCPU 2")


def test_every_case_is_there_with_its_expectation_and_manifest(example: Example) -> None:
    document = example("passing")
    root = page(document)
    for number, case in enumerate(document.cases):
        (shown,) = root.xpath(f"//*[@id='case-{number}']")
        for aspect, value in case.expectation.items():
            assert f"{aspect}{value}" in str(shown.text_content())
        assert "dedicatedCpuPlacement: true" in text(shown)


def test_every_pcpu_is_on_every_map(example: Example) -> None:
    document = example("simulated")
    figures = page(document).xpath("//figure")
    cpus = {len(node.cpus) for node in document.nodes for _ in node.maps}
    assert len(figures) == sum(len(node.maps) for node in document.nodes)
    drawn = {len(f.xpath(".//*[starts-with(@class, 'box ')]")) for f in figures}
    assert drawn == cpus
    assert all(figure.xpath(".//*[@role='img' and @aria-label]") for figure in figures)
    assert all(figure.xpath(".//details[@class='claims']//tr") for figure in figures)


def test_what_was_lost_at_once_is_said_once(example: Example) -> None:
    (section,) = page(example("inconclusive")).xpath("//section[@id='not-observed']")
    assert text(section).count("node-1 died before it was read") == 1
    assert "GUEST-TOPOLOGY" in text(section)


def test_a_huge_run_leaves_maps_out_and_says_so_but_not_those_of_broken_cases(
    example: Example,
) -> None:
    document = example("failing")
    (node,) = document.nodes
    good = next(m for m in node.maps if m.case == "topology-1x2x1")
    bad = next(m for m in node.maps if m.case == "isolate-1x2x2")
    root = page(replace(document, nodes=(replace(node, maps=(*[good] * 2_000, bad)),)))
    assert 0 < len(root.xpath("//figure")) < 2_001
    assert "moments are not drawn" in text(root)
    assert len(root.xpath("//figure[@class='broken']")) == 1


def test_a_huge_run_leaves_cases_out_and_says_so_but_not_those_that_broke(
    example: Example,
) -> None:
    document = example("failing")
    (broken, *_) = [case for case in document.cases if case.verdict == "fail"]
    kept = next(case for case in document.cases if case.verdict == "pass")
    many = tuple(replace(kept, id=f"c{number}") for number in range(3_000))
    root = page(replace(document, cases=(*many, broken)))
    shown = root.xpath("//details[contains(@class, 'case')]")
    assert 0 < len(shown) < 3_001
    assert [case.get("data-verdict") for case in shown].count("fail") == 1
    assert "more cases are in report.json" in text(root)


@pytest.mark.parametrize(
    "letter", ["\x1b", "\x9b", "\u202e", "\u2066", "\u2028", "\u200b", "\ufeff", "\ud800"]
)
def test_no_text_steers_the_page(example: Example, letter: str) -> None:
    assert letter not in html.render(example("hostile"))


def test_no_text_is_a_link_or_an_expression(example: Example) -> None:
    root = page(example("hostile"))
    assert not [href for href in root.xpath("//@href") if "evil" in str(href)]
    assert "{{ 7 * 7 }}" in text(root)
    assert not root.xpath("//img | //iframe | //object | //form[@action]")


def test_it_says_what_the_verdict_covers_and_what_was_judged(example: Example) -> None:
    document = example("passing")
    root = page(document)
    (covered,) = root.xpath("//section[@id='coverage']")
    for requirement in document.requirements:
        assert requirement.id in text(covered)
    (setting,) = root.xpath("//dl[@id='setting']")
    for part in ("v1.9.0", "containerd://2.1.4", "AlignCPUs", "QEMU 9.0.0", "403 Forbidden"):
        assert part in text(setting)


def test_notes_change_no_verdict_and_are_shown(example: Example) -> None:
    document = example("passing")
    first, *rest = document.findings
    noted = replace(first, notes=("qemu-ga of the host runs on pCPU 3",))
    root = page(replace(document, findings=(noted, *rest)))
    (notes,) = root.xpath("//section[@id='notes']")
    assert "qemu-ga of the host runs on pCPU 3" in text(notes)
    assert not page(document).xpath("//section[@id='notes']")


def test_a_capability_that_could_not_be_read_is_told_apart(example: Example) -> None:
    document = example("passing")
    first, *rest = document.capabilities
    root = page(replace(document, capabilities=(replace(first, present=None), *rest)))
    assert "? not known" in text(root)
    assert "? not known" not in text(page(document))


def test_a_page_of_a_thousand_broken_cases_has_its_size(example: Example) -> None:
    document = example("failing")
    cases, findings, maps = [], [], []
    (node,) = document.nodes
    for number in range(1_000):
        case = document.cases[number % len(document.cases)]
        name = f"{case.id}-{number}"
        cases.append(replace(case, id=name, verdict=Verdict.FAIL))
        findings += [
            replace(each, case=name, verdict=Verdict.FAIL, objections=(each.message,))
            for each in document.findings
            if each.case == case.id
        ]
        maps += [replace(each, case=name) for each in node.maps if each.case == case.id]
    text = html.render(
        replace(
            document,
            cases=tuple(cases),
            findings=tuple(findings),
            nodes=(replace(node, maps=tuple(maps)),),
        )
    )
    assert len(text.encode()) < 5_000_000
