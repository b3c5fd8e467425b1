"""What reports of many cases weigh, and when a browser is done with them.

``python -m tests.benchmark page [NUMBER...]``: cases of a good run, then the same with every
finding broken.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from selenium.webdriver import Chrome

from conformance.judging.report import judge
from reports.document import Document, Verdict, count
from reports.write import write_all
from tests.chromium import missing, start
from tests.unit.test_judge import everything

_TIMES = """
const [page] = performance.getEntriesByType("navigation");
return [page.domInteractive, page.domContentLoadedEventEnd, page.loadEventEnd];
"""
_ANSWER = """
const done = arguments[0], began = performance.now();
const field = document.querySelector("form.filter input");
field.value = "no such case";
field.dispatchEvent(new Event("input", {bubbles: true}));
requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
"""


def main(numbers: list[str]) -> None:
    """Prints a line for each report."""
    if why := missing():
        sys.exit(why)
    with tempfile.TemporaryDirectory(prefix="conform-") as profile:
        browser = start(Path(profile))
        try:
            for number in map(int, numbers or ("1000", "10000")):
                for name in ("good", "broken"):
                    document = many(number, broken=name == "broken")
                    print(f"{number:>6} cases, {name}: {measured(browser, document)}", flush=True)
        finally:
            browser.quit()


def many(number: int, *, broken: bool) -> Document:
    """The recorded VMI as often as that, each under a name of its own.

    Args:
        number: of cases.
        broken: every finding is, each for a reason of its own.
    """
    one = judge(everything())
    (case, *_), (node, *_) = one.cases, one.nodes
    verdict = Verdict.FAIL if broken else case.verdict
    cases, findings, maps = [], [], []
    for each in (f"{case.id}-{n}" for n in range(number)):
        cases.append(replace(case, id=each, verdict=verdict))
        maps += [replace(found, case=each) for found in node.maps if found.case == case.id]
        for found in (found for found in one.findings if found.case == case.id):
            own = replace(found, case=each, id=f"{found.requirement}@{each}")
            why = f"{each}: {found.message}"
            spoilt = replace(own, verdict=Verdict.FAIL, message=why, objections=(why,), summary=why)
            findings.append(spoilt if broken else own)
    return replace(
        one,
        cases=tuple(cases),
        findings=tuple(findings),
        nodes=(replace(node, maps=tuple(maps)),),
        counts=count(findings),
    )


def measured(browser: Chrome, document: Document) -> str:
    """Sizes, and times of the browser."""
    with tempfile.TemporaryDirectory(prefix="conform-") as directory:
        out = Path(directory)
        began = time.process_time()
        write_all(document, out)
        spent = time.process_time() - began
        sizes = [(out / name).stat().st_size for name in ("report.html", "summary.md")]
        browser.get("about:blank")
        browser.execute_cdp_cmd("Performance.disable", {})
        browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        browser.get((out / "report.html").as_uri())
        interactive, ready, loaded = browser.execute_script(_TIMES)
        metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        busy = next(each["value"] for each in metrics if each["name"] == "TaskDuration")
        answered = browser.execute_async_script(_ANSWER)
    return (
        f"written in {spent:.1f} s CPU; report.html {sizes[0] / 1e6:.2f} MB, interactive after "
        f"{interactive:.0f} ms, its script done after {ready:.0f} ms, loaded after {loaded:.0f} ms "
        f"({1000 * busy:.0f} ms CPU of the page), the filter answers in {answered:.0f} ms; "
        f"summary.md {sizes[1] / 1e3:.1f} kB"
    )
