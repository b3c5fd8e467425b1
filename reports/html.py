"""The report as one HTML page that needs nothing else: no server, no network, no fonts.

Everything that a person must see first comes first; the rest is folded. The page may be
opened from anywhere, so that its policy forbids every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.by_hand import again, commands
from reports.causes import Cause, alike, causes, names_in
from reports.cpu_map import Layout, lay_out
from reports.document import WORST_FIRST, Case, CpuMap, Document, Finding, Node, Verdict, worst
from reports.nodes import by_node
from reports.wording import (
    BROKEN,
    SIGNS,
    SIMULATION,
    STANDINGS,
    coverage,
    duration,
    faults_met,
    headline,
    printable,
    setting_facts,
    watched,
    words,
    worst_first,
)

_BOXES = 6_000
"""pCPU boxes on one page; more of them make a browser slow."""
_BOXES_OF_MANY = 1_500
"""The same on a page of so many cases that most are a line alone."""
_COMPARED = 3_000
"""Findings above which the values compared by passing ones are left to report.json."""
_CASES = 1_000
"""Cases on one page; above it those that broke come first, and the rest is left to report.json."""
_BODIES = 300
"""Cases above which one that passed is a line alone, and only some that broke are whole."""
_WHOLE = 40
"""Broken cases of such a page that are whole; of the others it has what broke, a line each."""
_GRID = 60
"""Cases above which the grid of cases and requirements is too wide to read."""
_PATH = 48
"""Characters of a path above which it is folded."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_LONG_ID = re.compile(r"([0-9a-f]{8})[0-9a-f]{24,}")

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's where PyYAML was built with it: several times as fast."""


@dataclass(frozen=True)
class _Map:
    """One drawn map; its number on the page is None where only a card draws it."""

    number: int | None
    node: str
    map: CpuMap
    layout: Layout


@dataclass(frozen=True)
class _Moments:
    """The maps of one case, in time order."""

    number: int
    case: str
    broken: bool
    maps: Sequence[_Map]


@dataclass(frozen=True)
class _Node:
    """A node with its maps by case, and how many of them the page left out."""

    node: Node
    cases: Sequence[_Moments]
    left_out: int


def render(document: Document) -> str:
    """The document as the text of a ``report.html``."""
    style, script = _own("report.css"), _own("report.js")
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            **_view(document),
            style=Markup(style),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    return page.lstrip()


@cache
def environment() -> Environment:
    """Where the templates of pages are, with what they are filled by."""
    found = Environment(
        loader=PackageLoader("reports", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Control characters would be dropped or replaced by the browser: they stay visible.
        finalize=_finalize,
    )
    found.filters |= {
        "duration": duration,
        "faults_met": faults_met,
        "watched": watched,
        "words": words,
        "yaml": _yaml,
        "sign": SIGNS.__getitem__,
        "folded": _folded,
        "anchor": _anchor,
        "when": _when,
    }
    found.globals |= {
        "again": again,
        "commands": commands,
        "style": lambda: Markup(_own("report.css")),
    }
    return found


def _view(document: Document) -> Mapping[str, Any]:
    cases = _cases(document)
    requirements = {r.id: number for number, r in enumerate(document.requirements)}
    by_case: dict[str, list[Finding]] = defaultdict(list)
    shown = {case.id for case in cases} | {""}
    for finding in document.findings:
        if finding.case in shown:
            by_case[finding.case].append(finding)
    cells = {key: worst(findings) for key, findings in _by_requirement_and_case(by_case).items()}
    nodes = _nodes(document)
    found = causes(document)
    known = [f for f in document.findings if f.verdict is Verdict.KNOWN_DIVERGENCE]
    whole = _whole(cases)
    compared_all = len(document.findings) <= _COMPARED
    return {
        "document": document,
        "headline": headline(document.conclusion),
        "coverage": coverage(document.requirements),
        "standings": STANDINGS,
        "setting": list(setting_facts(document)),
        "by_node": by_node(document),
        "notes": _notes(document.findings),
        "simulation": SIMULATION,
        "order": WORST_FIRST,
        "broken": _sections(found),
        "divergences": alike(known, names_in(document)),
        "cases": cases,
        "case_numbers": {case.id: number for number, case in enumerate(cases)},
        "requirement_numbers": requirements,
        "titles": {r.id: r.title for r in document.requirements},
        "by_case": {case: worst_first(findings) for case, findings in by_case.items()},
        "cells": cells,
        "grid": 0 < len(document.cases) <= _GRID,
        "nodes": nodes,
        "map_of": _map_of(nodes),
        "by_id": {case.id: case for case in document.cases},
        "whole": whole,
        "failures": BROKEN,
        "shows_compared": lambda f: compared_all or f.verdict is not Verdict.PASS,
        "compared_all": compared_all,
        "slowest": sorted(document.timings.cases.items(), key=lambda item: -item[1]),
    }


def _notes(findings: Iterable[Finding]) -> Mapping[str, Sequence[Finding]]:
    """The findings that have a note, by note."""
    notes: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        for note in finding.notes:
            notes[note].append(finding)
    return notes


def _sections(found: Sequence[Cause]) -> list[tuple[Verdict, list[Cause]]]:
    sections = [(v, [each for each in found if each.finding.verdict is v]) for v in BROKEN]
    return [(verdict, groups) for verdict, groups in sections if groups]


def _folded(text: str) -> str:
    """A source whose path is long, by its end; ids in it by their beginnings."""
    if len(text) <= _PATH or "/" not in text:
        return text
    end = "/".join(_LONG_ID.sub(r"\1…", text).split("/")[-2:])
    return f"…/{end}" if len(end) <= 2 * _PATH else f"…{end[-2 * _PATH :]}"


def _anchor(id: str) -> str:
    """An id of a finding as one of the page: no text of somebody else's is one."""
    return f"finding-{hashlib.sha256(id.encode(errors='backslashreplace')).hexdigest()[:12]}"


def _when(at: str) -> str:
    """A time of the document to the second; what is no time stays as it is."""
    return f"{at[:10]} {at[11:19]} UTC" if _TIME.match(at) else at


def _cases(document: Document) -> Sequence[Case]:
    """The cases of the page, in their order."""
    if len(document.cases) <= _CASES:
        return document.cases
    urgent = sorted(enumerate(document.cases), key=lambda item: item[1].verdict not in BROKEN)
    return [case for _place, case in sorted(urgent[:_CASES], key=lambda item: item[0])]


def _whole(cases: Sequence[Case]) -> frozenset[str]:
    """Ids of the cases that are shown with everything that is known of them."""
    if len(cases) <= _BODIES:
        return frozenset(case.id for case in cases)
    broken = [case.id for case in cases if case.verdict in BROKEN]
    return frozenset(broken[:_WHOLE])


def _by_requirement_and_case(
    by_case: Mapping[str, Sequence[Finding]],
) -> Mapping[tuple[str, str], Sequence[Finding]]:
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for case, findings in by_case.items():
        for finding in findings:
            groups[finding.requirement, case].append(finding)
    return groups


def _nodes(document: Document) -> list[_Node]:
    verdicts = {case.id: case.verdict for case in document.cases}
    largest = max((len(node.cpus) for node in document.nodes), default=0)
    room = _BOXES if len(document.cases) <= _BODIES else max(_BOXES_OF_MANY, largest)
    nodes = []
    number = 0
    for node in document.nodes:
        # Maps of broken cases are drawn first, lest they be the ones left out.
        chosen = sorted(
            enumerate(node.maps),
            key=lambda item: (verdicts.get(item[1].case) not in BROKEN, not item[1].marks),
        )
        chosen = chosen[: room // max(len(node.cpus), 1)]
        room -= len(chosen) * len(node.cpus)
        by_case: dict[str, list[_Map]] = defaultdict(list)
        for _place, cpu_map in sorted(chosen, key=lambda item: item[0]):
            layout = lay_out(node, cpu_map)
            by_case[cpu_map.case].append(_Map(number, node.name, cpu_map, layout))
            number += 1
        cases = [
            _Moments(
                place,
                case,
                verdicts.get(case) in BROKEN or any(each.map.marks for each in maps),
                maps,
            )
            for place, (case, maps) in enumerate(by_case.items())
        ]
        nodes.append(_Node(node, cases, node.left_out + len(node.maps) - len(chosen)))
    return nodes


def _map_of(nodes: Sequence[_Node]) -> Mapping[str | tuple[str, str], _Map]:
    """Maps by the recording they are of, and the first one by node and case."""
    maps: dict[str | tuple[str, str], _Map] = {}
    for node in nodes:
        for case in node.cases:
            for each in case.maps:
                maps.setdefault((node.node.name, case.case), each)
                if each.map.evidence:
                    maps[each.map.evidence] = each
    return maps


def _yaml(case: Case) -> str:
    manifest = _plain(case.manifest)
    return str(yaml.dump(manifest, Dumper=_DUMPER, sort_keys=False, allow_unicode=True))


def _plain(value: Any) -> Any:
    """For libyaml, which writes no half of a surrogate pair."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _finalize(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _own(name: str) -> str:
    return resources.files("reports").joinpath("page", name).read_text(encoding="utf-8")
