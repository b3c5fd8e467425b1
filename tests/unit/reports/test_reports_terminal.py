import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reports import terminal
from reports.document import Compared, Document, Finding, Problem, Verdict

Example = Callable[[str], Document]


def shown(
    document: Document, width: int = 80, encoding: str = "utf-8", *, verbose: bool = False
) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    paths = {"report.html": Path("reports-out/report.html")}
    console = Console(file=file, width=width, highlight=False)
    terminal.show(document, paths, console, verbose=verbose)
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("width", [80, 200])
def test_it_fits(any_document: Document, width: int, verbose: bool) -> None:
    lines = shown(any_document, width, verbose=verbose).splitlines()
    assert max(map(len, lines)) <= width
    assert verbose or len(lines) <= terminal.LINES


def test_the_summary_fits_whatever_failed(example: Example) -> None:
    document = example("failing")
    wrong = tuple(
        Finding(
            f"REQ-{number}", Verdict.FAIL, f"{'why ' * 90}{number}x", case=f"c{number}", look="x"
        )
        for number in range(3_000)
    )
    problems = tuple(Problem("cleanup", "it broke " * 99, f"c{n}") for n in range(500))
    lines = shown(replace(document, findings=wrong, problems=problems)).splitlines()
    assert len(lines) <= terminal.LINES
    assert any("more in the report; --verbose" in line for line in lines)
    assert any("more problems in the report" in line for line in lines)
    assert any(line.startswith("FAIL REQ-0") for line in lines)
    assert any("NOT CONFORMANT" in line for line in lines)


def test_it_needs_only_ascii(any_document: Document) -> None:
    assert any_document.conclusion.outcome.upper() in shown(any_document, encoding="ascii").replace(
        "NOT CONFORMANT", "NOT-CONFORMANT"
    )


def test_nothing_in_the_document_steers_the_terminal(example: Example) -> None:
    for verbose in (False, True):
        text = shown(example("hostile"), verbose=verbose)
        assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "[bold]" in text


def test_every_requirement_is_named_in_full(example: Example) -> None:
    document = example("passing")
    text = shown(document, verbose=True)
    for requirement in document.requirements:
        assert requirement.id in text


def test_the_verdict_comes_after_the_sets_that_were_compared(example: Example) -> None:
    text = shown(example("failing"), verbose=True)
    places = [
        text.index(part)
        for part in ("FAIL PIN-THREADS", "3,7", "virDomainGetVcpuPinInfo", "NOT CONFORMANT")
    ]
    assert places == sorted(places)
    assert "exit code 1" in text
    assert "reports-out/report.html" in text.splitlines()[-1]


def test_a_simulation_says_so(example: Example) -> None:
    assert "SIMULATION" in shown(example("simulated"))
    assert "SIMULATION" not in shown(example("passing"))


def test_problems_are_shown(example: Example) -> None:
    assert "PROBLEM during cleanup" in shown(example("inconclusive"))


def test_faults_of_the_api_are_counted(example: Example) -> None:
    assert "3 requests to the API failed" in shown(example("inconclusive"))
    assert "requests to the API failed" not in shown(example("passing"))


def test_a_long_message_is_cut_and_says_so(example: Example) -> None:
    document = example("failing")
    values = tuple(Compared(f"value {number}", "x" * 50_000, "a file") for number in range(100))
    long = Finding("PIN-THREADS", Verdict.FAIL, "y" * 100_000, values)
    text = shown(replace(document, findings=(long,)), verbose=True)
    assert len(text) < 60_000
    assert "of 100000" in " ".join(text.split())
    assert "and 80 more values" in text


def test_it_says_what_the_verdict_covers_and_what_was_judged(example: Example) -> None:
    text = shown(example("failing"), width=120, verbose=True)
    for part in ("2 broken", "kept", "KubeVirt", "v1.9.0", "conform run", "Tool"):
        assert part in text
    assert text.index("v1.9.0") < text.index("NOT CONFORMANT")


def test_notes_are_told_once(example: Example) -> None:
    document = example("passing")
    findings = tuple(replace(each, notes=("sshd runs on pCPU 3",)) for each in document.findings)
    noted = replace(document, findings=findings)
    assert shown(noted, verbose=True).count("note: sshd runs on pCPU 3") == 1
    assert "1 note in the report" in shown(noted)
