from collections.abc import Callable
from dataclasses import replace

from reports import markdown
from reports.document import Document, Finding, Verdict

Example = Callable[[str], Document]


def test_it_begins_with_the_verdict_and_why(any_document: Document) -> None:
    assert markdown.render(any_document).startswith("# CPU conformance: ")


def test_a_simulation_says_so(example: Example) -> None:
    assert "> **SIMULATION" in markdown.render(example("simulated"))
    assert "SIMULATION" not in markdown.render(example("passing"))


def test_a_failure_shows_what_was_compared(example: Example) -> None:
    text = markdown.render(example("failing"))
    assert "PIN-THREADS" in text
    assert "| vCPU 1 by vcpupin | 3 | libvirt virDomainGetVcpuPinInfo |" in text
    assert text.index("may run on pCPU 4") < text.index("## Requirements")


def test_every_row_has_the_cells_of_its_table(any_document: Document) -> None:
    columns = 0
    for line in markdown.render(any_document).splitlines():
        cells = line.replace("\\|", "").count("|")
        assert not columns or not cells or cells == columns, line
        columns = cells


def test_no_text_becomes_markup(example: Example) -> None:
    text = markdown.render(example("hostile"))
    assert "<" not in text
    assert "\x1b" not in text
    assert "\\[bold\\]" in text


def test_thousands_of_failures_stay_a_summary(example: Example) -> None:
    findings = tuple(
        Finding("PIN-THREADS", Verdict.FAIL, f"vCPU {number} is astray.") for number in range(5_000)
    )
    text = markdown.render(replace(example("failing"), findings=findings))
    assert len(text) < 100_000
    assert "and 4980 more" in text
