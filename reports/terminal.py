"""The report on a terminal: what went wrong and the verdict in forty lines, or all of it.

Nothing is said by colour alone, and nothing needs more than 80 columns or ASCII. Texts of a
cluster steer no terminal, and what is cut is marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import shorten, wrap

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports.causes import Cause, causes
from reports.document import WORST_FIRST, Document, Finding, Outcome, Standing, Verdict
from reports.nodes import NodeRow, by_node
from reports.wording import (
    BROKEN,
    SIMULATION,
    STANDINGS,
    coverage,
    duration,
    faults_met,
    headline,
    one_line,
    setting_facts,
    shortened,
    some,
    words,
)

LINES = 40
"""That a summary has at most, whatever happened."""
_WIDEST = 100
"""Columns of a summary on a wide terminal."""
_NAMES = 4
_NODES = 6
_NOTES = 5
_COMPARED = 20
_OTHER_COLUMNS = 37
"""Columns of the table that neither an id nor a title takes, with four-digit counts."""
_SHORT = {
    Verdict.FAIL: "FAIL",
    Verdict.ERROR: "ERROR",
    Verdict.NOT_OBSERVED: "UNSEEN",
    Verdict.WAIVED: "waived",
    Verdict.KNOWN_DIVERGENCE: "known",
    Verdict.PASS: "pass",
    Verdict.NOT_APPLICABLE: "n/a",
}
_STYLES = {
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold magenta",
    Verdict.NOT_OBSERVED: "bold yellow",
    Verdict.WAIVED: "yellow",
    Verdict.KNOWN_DIVERGENCE: "yellow",
    Verdict.PASS: "green",
    Verdict.NOT_APPLICABLE: "dim",
}
_OUTCOMES = {
    Outcome.CONFORMANT: "bold green",
    Outcome.CONFORMANT_AS_ASKED: "bold green",
    Outcome.NOT_CONFORMANT: "bold red",
    Outcome.INCONCLUSIVE: "bold yellow",
    Outcome.INTERRUPTED: "bold yellow",
}


def show(
    document: Document,
    paths: Mapping[str, Path] | None = None,
    console: Console | None = None,
    *,
    verbose: bool = False,
) -> None:
    """Prints the document.

    Args:
        paths: files to name at the end, by what they are; see `reports.write.write_all`.
        console: where to print, standard output by default.
        verbose: prints everything; otherwise at most `LINES` lines beside the files.
    """
    console = console or Console(highlight=False)
    if verbose:
        _everything(document, console)
    else:
        for said, style in _summary(document, min(console.width, _WIDEST), len(paths or {})):
            console.print(_plain(said, console, style), soft_wrap=True)
    width = max((len(name) for name in paths or {}), default=0)
    for name, path in (paths or {}).items():
        line = Text(f"  {name:<{width}}  ").append_text(_text(str(path), console))
        console.print(line, soft_wrap=True)


_Line = tuple[str, str]
"""A line and its style."""


def _summary(document: Document, width: int, files: int) -> list[_Line]:
    """The verdict last, and before it as many causes as there is room for, the worst first."""
    end = [
        *_problems(document, width),
        *_nodes(document, width),
        *_what(document, width),
        *_conclusion(document, width),
    ]
    room = LINES - len(end) - files - 2
    found = causes(document)
    lines: list[_Line] = []
    shown = 0
    for cause in found:
        block = _cause(cause, width)
        if len(lines) + len(block) > room:
            break
        lines += block
        shown += 1
    if left := len(found) - shown:
        lines.append((f"... and {left} more in the report; --verbose shows them all", ""))
    return [*lines, *end]


def _cause(cause: Cause, width: int) -> list[_Line]:
    finding = cause.finding
    where = f"{some(cause.places[:2], 2, '; ')}"
    more = f" and {len(cause.places) - 2} more" if len(cause.places) > 2 else ""
    head = f"{words(finding.verdict).upper()} {some(cause.requirements, _NAMES)} ({where}{more})"
    follow = dict.fromkeys(name for each in cause.consequences for name in each.requirements)
    return [
        (_cut(head, width), _STYLES[finding.verdict]),
        *_wrapped(finding.summary or finding.message, width, "  ", 3),
        *(_wrapped(finding.look, width, "  ", 2) if finding.look else ()),
        *(_wrapped(f"Follows: {', '.join(follow)}", width, "  ", 1) if follow else ()),
    ]


def _problems(document: Document, width: int) -> list[_Line]:
    lines: list[_Line] = []
    for problem in document.problems[:2]:
        where = ", ".join(part for part in (problem.case, problem.node) if part)
        said = f"PROBLEM during {problem.during}{f' ({where})' if where else ''}: {problem.message}"
        lines += [(line, "bold magenta") for line, _ in _wrapped(said, width, "", 2)]
    if (left := len(document.problems) - 2) > 0:
        lines.append((f"... and {left} more problems in the report", ""))
    if document.faults:
        lines += [
            (line, "yellow") for line, _ in _wrapped(faults_met(document.faults), width, "", 1)
        ]
    notes = len({note for each in document.findings for note in each.notes})
    if notes:
        lines.append((f"{notes} note{'' if notes == 1 else 's'} in the report", ""))
    return lines


def _nodes(document: Document, width: int) -> list[_Line]:
    """A line for each node that was to be judged, those on which nothing was seen first."""
    if not document.selection.nodes:
        return []
    rows = [row for row in by_node(document) if row.node in document.selection.nodes]
    rows.sort(key=lambda row: WORST_FIRST.index(row.verdict or Verdict.NOT_OBSERVED))
    lines = [
        (_cut(f"{words(row.verdict).upper()} on {row.node}: {_judged(row)}", width), "")
        for row in rows[:_NODES]
        if row.verdict
    ]
    more = [(f"... and {len(rows) - _NODES} more nodes", "")] if len(rows) > _NODES else []
    return [*lines, *more]


def _judged(row: NodeRow) -> str:
    number = f"{row.vmis} case{'' if row.vmis == 1 else 's'}" if row.vmis else ""
    return "; ".join(filter(None, (number, row.why)))


def _what(document: Document, width: int) -> list[_Line]:
    cluster = document.cluster
    how = f", {cluster.acceleration}" if cluster.acceleration else ""
    said = (
        f"{cluster.stack} on {cluster.provider}{how}; profile {document.profile}, matrix "
        f"{document.matrix}; {len(document.cases)} cases in {duration(document.run.seconds)}"
    )
    simulation = _wrapped(SIMULATION, width, "", 2) if cluster.simulation else []
    return [
        ("", ""),
        *((line, "bold yellow") for line, _ in simulation),
        *_wrapped(said, width, "", 3),
    ]


def _conclusion(document: Document, width: int) -> list[_Line]:
    ids: dict[Standing, list[str]] = {standing: [] for standing in Standing}
    for each in document.requirements:
        ids[each.standing].append(each.id)
    lines: list[_Line] = []
    for standing, names in ids.items():
        if names:
            number = f"  {len(names)} {STANDINGS[standing]}"
            lines.append((f"{number:<26} {_cut(', '.join(names), width - 27)}", ""))
    conclusion = document.conclusion
    said = f"{headline(conclusion).upper()}: {conclusion.reason}"
    code = f"(exit code {conclusion.exit_code})"
    style = _OUTCOMES[conclusion.outcome]
    return [*lines, *((line, style) for line, _ in _wrapped(said, width, "", 4)), (code, style)]


def _cut(text: str, width: int) -> str:
    line = one_line(text)
    return line if len(line) <= width else f"{line[: width - 4]} ..."


def _wrapped(text: str, width: int, indent: str, most: int) -> list[_Line]:
    """The text in at most so many lines; what is cut is marked."""
    lines = wrap(
        shortened(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        max_lines=most,
        placeholder=" ...",
        break_on_hyphens=False,
    )
    return [(line, "") for line in lines]


def _everything(document: Document, console: Console) -> None:
    console.print(_requirements(document, console))
    for cause in causes(document):
        for each in (cause, *cause.consequences):
            _finding(each, console)
    _notes(document.findings, console)
    for problem in document.problems:
        where = ", ".join(part for part in (problem.case, problem.node) if part)
        where = f" ({where})" if where else ""
        _line(console, f"PROBLEM during {problem.during}{where}: {problem.message}", "bold magenta")
    if document.problems:
        console.print()
    if document.faults:
        _line(console, faults_met(document.faults), "yellow")
    _verdict(document, console)


def _requirements(document: Document, console: Console) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0))
    longest = max((len(requirement.id) for requirement in document.requirements), default=0)
    table.add_column("verdict", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("requirement", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    for name in ("pass", "fail", "?", "n/a"):
        table.add_column(name, justify="right", no_wrap=True)
    room = max(console.width - longest - _OTHER_COLUMNS, 12)
    for requirement in document.requirements:
        counts = requirement.counts
        unclear = {*BROKEN, Verdict.KNOWN_DIVERGENCE} - {Verdict.FAIL}
        numbers = (
            counts[Verdict.PASS],
            counts[Verdict.FAIL],
            sum(counts[verdict] for verdict in unclear),
            counts[Verdict.NOT_APPLICABLE],
        )
        asked = requirement.standing is not Standing.NOT_ASKED
        short = _SHORT[requirement.verdict] if asked else "unasked"
        table.add_row(
            Text(short, style=_STYLES[requirement.verdict]),
            _text(requirement.id, console),
            _text(shorten(requirement.title, room, placeholder=" ..."), console),
            "contract" if requirement.tier == "contract" else "impl.",
            *(str(number) if number else "." for number in numbers),
        )
    return table


def _finding(group: Cause, console: Console) -> None:
    finding = group.finding
    head = Text(words(finding.verdict).upper(), style=_STYLES[finding.verdict])
    head.append(" ").append_text(_text(some(group.requirements, _NAMES), console, "bold"))
    head.append_text(Text(" (")).append_text(_text(some(group.places, _NAMES, "; "), console))
    head.append(")")
    console.print(head)
    console.print(Padding(_text(finding.message, console), (0, 0, 0, 2)))
    if finding.compared:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(overflow="fold")
        table.add_column(overflow="fold", style="bold")
        table.add_column(overflow="fold", style="dim")
        for compared in finding.compared[:_COMPARED]:
            cells = (compared.what, compared.value, compared.source)
            table.add_row(*(_text(cell, console) for cell in cells))
        console.print(Padding(table, (0, 0, 0, 4)))
        if len(finding.compared) > _COMPARED:
            _line(console, f"    ... and {len(finding.compared) - _COMPARED} more values")
    console.print()


def _notes(findings: Iterable[Finding], console: Console) -> None:
    """Remarks that change no verdict, each once."""
    notes = list(dict.fromkeys(note for finding in findings for note in finding.notes))
    for note in notes[:_NOTES]:
        _line(console, f"note: {note}")
    if len(notes) > _NOTES:
        _line(console, f"... and {len(notes) - _NOTES} more notes in the report.")
    if notes:
        console.print()


def _facts(rows: Iterable[tuple[str, str]], console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", style="dim")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*(_text(cell, console) for cell in row))
    console.print(Padding(table, (0, 0, 0, 2)))


def _verdict(document: Document, console: Console) -> None:
    if document.cluster.simulation:
        _line(console, SIMULATION, "bold yellow")
    cluster = document.cluster
    how = f", {cluster.acceleration}" if cluster.acceleration else ""
    _line(
        console,
        f"{cluster.stack} on {cluster.provider}{how}; profile {document.profile}, matrix "
        f"{document.matrix}; {len(document.cases)} cases, {len(document.findings)} findings "
        f"in {duration(document.run.seconds)}",
    )
    _facts(setting_facts(document), console)
    console.print()
    rows = [
        (f"{number} {STANDINGS[standing]}" if number else "", which)
        for standing, number, which in coverage(document.requirements)
    ]
    _facts(rows, console)
    console.print()
    conclusion = document.conclusion
    line = _text(headline(conclusion).upper(), console, _OUTCOMES[conclusion.outcome])
    line.append(". " if conclusion.outcome is Outcome.CONFORMANT_AS_ASKED else ": ")
    line.append_text(_text(f"{conclusion.reason} (exit code {conclusion.exit_code})", console))
    console.print(line)


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(_text(text, console, style))


def _plain(line: str, console: Console, style: str) -> Text:
    """A line that is one already, as it is laid out."""
    if console.options.ascii_only:
        line = line.encode("ascii", "backslashreplace").decode("ascii")
    return Text(line, style=style)


def _text(text: str, console: Console, style: str = "") -> Text:
    text = shortened(text)
    if console.options.ascii_only:
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    return Text(text, style=style)
