import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from reports import markdown
from reports.document import Compared, Document, Finding, Problem, Verdict

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
    names = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(5_000)]
    findings = tuple(Finding("PIN-THREADS", Verdict.FAIL, f"{name} is astray.") for name in names)
    text = markdown.render(replace(example("failing"), findings=findings))
    assert len(text.encode()) <= markdown.LARGEST
    assert "and 4980 more" in text


def test_a_summary_has_its_size_whatever_failed(example: Example) -> None:
    values = tuple(Compared(f"value {n}", "ü" * 50_000, "a file") for n in range(100))
    findings = tuple(
        Finding(f"REQ-{n}", Verdict.FAIL, "y" * 100_000, values, notes=("z" * 9_000,))
        for n in range(100)
    )
    problems = tuple(Problem("cleanup", f"{n} broke " * 5_000) for n in range(500))
    text = markdown.render(replace(example("failing"), findings=findings, problems=problems))
    assert len(text.encode()) <= markdown.LARGEST
    assert text.startswith("# CPU conformance: not conformant")
    assert "the rest is in `report.html`" in text


def test_no_text_is_a_link_or_a_mention(example: Example) -> None:
    bare = re.sub(r"\\.|`[^`]*`", "", markdown.render(example("hostile")))
    for part in ("://", "www.", "@"):
        assert part not in bare


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("---", "\\---"),
        ("2-5", "2-5"),
        ("0.5 s", "0.5 s"),
        ("# head", "\\# head"),
        ("> quote", "\\> quote"),
        ("see https://evil.example/a_b|c", "see `https://evil.example/a_b`\\|c"),
        ("[a](b)", "\\[a\\](b)"),
        ("a\nb", "a b"),
    ],
)
def test_a_text_is_shown_as_it_is(example: Example, text: str, shown: str) -> None:
    document = example("passing")
    reason = replace(document.conclusion, reason=text)
    rendered = markdown.render(replace(document, conclusion=reason))
    assert rendered.split("\n\n")[1] == shown


def test_a_long_message_is_cut_and_says_so(example: Example) -> None:
    long = Finding("PIN-THREADS", Verdict.FAIL, "x" * 100_000)
    rendered = markdown.render(replace(example("failing"), findings=(long,)))
    assert len(rendered) < 20_000
    assert "of 100000 characters" in rendered


def test_it_says_what_the_verdict_covers_and_what_was_judged(example: Example) -> None:
    document = example("passing")
    rendered = markdown.render(document)
    head = rendered[: rendered.index("## Requirements")]
    for requirement in document.requirements:
        assert requirement.id in head
    assert "containerd" in head
    assert "conform run --cluster embedded" in head


def test_failures_come_before_what_was_covered(example: Example) -> None:
    rendered = markdown.render(example("failing"))
    order = [rendered.index(f"## {name}") for name in ("What was not kept", "Coverage", "The run")]
    assert order == sorted(order)
