import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reports import terminal
from reports.document import Compared, Document, Finding, Verdict

Example = Callable[[str], Document]


def shown(document: Document, width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    paths = {"report.html": Path("reports-out/report.html")}
    terminal.show(document, paths, Console(file=file, width=width, highlight=False))
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 200])
def test_it_fits(any_document: Document, width: int) -> None:
    assert max(map(len, shown(any_document, width).splitlines())) <= width


def test_it_needs_only_ascii(any_document: Document) -> None:
    assert any_document.conclusion.outcome.upper() in shown(any_document, encoding="ascii").replace(
        "NOT CONFORMANT", "NOT-CONFORMANT"
    )


def test_nothing_in_the_document_steers_the_terminal(example: Example) -> None:
    text = shown(example("hostile"))
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "[bold]" in shown(example("hostile"))


def test_every_requirement_is_named_in_full(example: Example) -> None:
    document = example("passing")
    text = shown(document)
    for requirement in document.requirements:
        assert requirement.id in text


def test_the_verdict_comes_after_the_sets_that_were_compared(example: Example) -> None:
    text = shown(example("failing"))
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
    assert "The API failed 3 times" in shown(example("inconclusive"))
    assert "The API failed" not in shown(example("passing"))


def test_a_long_message_is_cut_and_says_so(example: Example) -> None:
    document = example("failing")
    values = tuple(Compared(f"value {number}", "x" * 50_000, "a file") for number in range(100))
    long = Finding("PIN-THREADS", Verdict.FAIL, "y" * 100_000, values)
    text = shown(replace(document, findings=(long,)))
    assert len(text) < 60_000
    assert "of 100000" in " ".join(text.split())
    assert "and 80 more values" in text


def test_it_says_what_the_verdict_covers_and_what_was_judged(example: Example) -> None:
    text = shown(example("failing"), width=120)
    for part in ("2 broken", "kept", "KubeVirt", "v1.9.0", "conform run", "Tool"):
        assert part in text
    assert text.index("v1.9.0") < text.index("NOT CONFORMANT")


def test_notes_are_told_once(example: Example) -> None:
    document = example("passing")
    findings = tuple(replace(each, notes=("sshd runs on pCPU 3",)) for each in document.findings)
    assert shown(replace(document, findings=findings)).count("note: sshd runs on pCPU 3") == 1
