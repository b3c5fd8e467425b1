"""A saboteur at work on a recorded run: what the judge makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice
from typing import Any

from conformance.collecting.bundle import Bundle
from conformance.judging.report import judge
from conformance.model.evidence import RawSnapshot
from conformance.model.vocabulary import LAST_HEARTBEAT, RUNNING
from conformance.model.watch import Watched
from conformance.parsing.assemble import assemble
from conformance.proving.saboteur import Saboteur
from conformance.proving.scene import NothingToSpoilError, Scene
from reports import document
from reports.verdicts import WORST_FIRST

Looks = Sequence[tuple[str, RawSnapshot]]
MOST_CASES = 3
"""Of how many recorded cases a saboteur spoils one after the other."""
_LASTED = (timedelta(minutes=4), timedelta(minutes=8))
"""How much later what lasts is seen again: longer than any loop that would mend it."""


class Outcome(Enum):
    """What became of a saboteur."""

    CAUGHT = "caught"
    BLAMED = "wrong blame"
    MISSED = "missed"
    IDLE = "nothing to spoil"


@dataclass(frozen=True)
class Trial:
    """One saboteur on one recorded case.

    Attributes:
        case: id of the case, empty where none had anything to spoil.
        failed: requirements that fail now and did not before.
        stray: those of them that have nothing to do with it.
        said: the message of the finding of its own requirement, or of the wrong one.
    """

    saboteur: Saboteur
    outcome: Outcome
    case: str = ""
    failed: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()
    said: str = ""


class Prover:
    """Lets saboteurs spoil one recorded run.

    Args:
        bundle: a run in which what they break was kept.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._looks: dict[str, Looks] = {}
        self._before: dict[str, Sequence[document.Finding]] = {}

    def trials(self, saboteur: Saboteur) -> Sequence[Trial]:
        """Spoils recorded cases that have something for a saboteur, a few of them."""
        found = [*islice(self._trials(saboteur), MOST_CASES)]
        return found or [Trial(saboteur, Outcome.IDLE)]

    def _trials(self, saboteur: Saboteur) -> Iterator[Trial]:
        for case in self._cases(saboteur):
            if case not in self._looks:
                self._looks[case] = self._bundle.snapshots[case]
            looks, watched = self._looks[case], None
            try:
                if saboteur.glimpse:
                    watched = _glimpsed(saboteur, looks)
                else:
                    looks = _spoil(saboteur, looks)
            except NothingToSpoilError:
                continue
            before = self._said(case)
            if _kept(saboteur.requirement, before):
                now = self._findings(case, looks, watched)
                yield concluded(saboteur, case, _failed(before), now)

    def _cases(self, saboteur: Saboteur) -> Sequence[str]:
        there = self._bundle.snapshots
        if saboteur.scenario:
            return [saboteur.scenario] if saboteur.scenario in there else []
        planned = {str(each["id"]) for each in self._bundle.run["cases"]}
        return [case for case in there if case in planned]

    def _said(self, case: str) -> Sequence[document.Finding]:
        if case not in self._before:
            self._before[case] = self._findings(case, self._looks[case])
        return self._before[case]

    def _findings(
        self, case: str, looks: Looks, watched: Watched | None = None
    ) -> Sequence[document.Finding]:
        """Everything that the judge says of one case, as in any run."""
        run: Mapping[str, Any] = {
            **self._bundle.run,
            "cases": [each for each in self._bundle.run["cases"] if each["id"] == case],
            "scenarios": [each for each in self._bundle.run.get("scenarios") or () if each == case],
            "unjudged": [],
        }
        seen = Bundle(run, {case: looks}, ())
        if watched is not None:
            # Nothing of it has ended as long as it was watched.
            uids = {raw.pod["metadata"]["uid"] for _name, raw in looks if raw.pod}
            ends = dict.fromkeys(uids, watched.watches[-1].ended)
            seen = replace(seen, watched={watched.node: watched}, endings=ends)
        found = judge(seen).findings
        # What it says of nodes by themselves, of which nothing is handed over, is not of the case.
        return [each for each in found if each.case == case]


_UNKEPT = frozenset({document.Verdict.FAIL, document.Verdict.ERROR, document.Verdict.NOT_OBSERVED})


def _kept(requirement: str, findings: Iterable[document.Finding]) -> bool:
    """Whether a requirement was judged of a case, and nothing is said against it."""
    verdicts = {each.verdict for each in findings if each.requirement == requirement}
    return bool(verdicts) and not verdicts & _UNKEPT


def _failed(findings: Iterable[document.Finding]) -> frozenset[str]:
    return frozenset(e.requirement for e in findings if e.verdict is document.Verdict.FAIL)


def concluded(
    saboteur: Saboteur, case: str, before: frozenset[str], now: Sequence[document.Finding]
) -> Trial:
    """What became of a saboteur, by what fails now and did not before."""
    failed = _failed(now) - before
    stray = failed - saboteur.also - {saboteur.requirement}
    own = [each for each in now if each.requirement == saboteur.requirement]
    if saboteur.requirement not in failed:
        outcome, speaks = Outcome.MISSED, own
    elif stray:
        broken = [each for each in now if each.verdict is document.Verdict.FAIL]
        outcome, speaks = Outcome.BLAMED, [each for each in broken if each.requirement in stray]
    else:
        outcome, speaks = Outcome.CAUGHT, own
    said = "nothing is said of it"
    if speaks:
        worst = min(speaks, key=lambda each: WORST_FIRST.index(each.verdict))
        said = f"{worst.requirement} {worst.verdict.value}: {worst.message}"
    return Trial(saboteur, outcome, case, tuple(sorted(failed)), tuple(sorted(stray)), said)


def _glimpsed(saboteur: Saboteur, looks: Looks) -> Watched:
    """What a watcher would have seen around the last look at a workload that runs.

    Raises NothingToSpoilError.
    """
    assert saboteur.glimpse is not None
    for _name, raw in reversed(looks):
        if _meant(saboteur, raw):
            return saboteur.glimpse(Scene(raw, assemble(raw)))
    raise NothingToSpoilError(saboteur.moment)


def _spoil(saboteur: Saboteur, looks: Looks) -> Looks:
    """The looks of a case with those of its moment spoilt, and the last of them seen again.

    Raises NothingToSpoilError where there is nothing for it.
    """
    assert saboteur.change is not None
    spoilt, touched = list(looks), set()
    for index, (name, raw) in enumerate(looks):
        if _meant(saboteur, raw):
            with suppress(NothingToSpoilError):
                spoilt[index] = (name, saboteur.change(Scene(raw, assemble(raw))).raw)
                touched.add(index)
    if not touched:
        raise NothingToSpoilError(saboteur.moment)
    return _lasting(spoilt, saboteur.moment)


def _lasting(looks: Looks, moment: str) -> Looks:
    """The looks with the last ones of a moment, of each workload, seen again after a while."""
    place = {(raw.moment, _subject(raw), _node(raw)): at for at, (_, raw) in enumerate(looks)}
    last = sorted(at for (when, _subject, _node), at in place.items() if when == moment)
    again = [(looks[at][0], _later(looks[at][1], by)) for by in _LASTED for at in last]
    rest = [(name, _later(raw, _LASTED[-1])) for name, raw in looks[last[-1] + 1 :]]
    return [*looks[: last[-1] + 1], *again, *rest]


def _meant(saboteur: Saboteur, raw: RawSnapshot) -> bool:
    if raw.moment != saboteur.moment or raw.torn or raw.lost:
        return False
    if raw.moment == RUNNING and _phase(raw) not in ("", "Running"):
        return False
    return saboteur.subject is None or _subject(raw) == saboteur.subject


def _phase(raw: RawSnapshot) -> str:
    """Of what a VMI that does not run shows, nothing was kept that could be broken."""
    return str(((raw.vmi or {}).get("status") or {}).get("phase", ""))


def _subject(raw: RawSnapshot) -> str:
    return str((raw.manifest.get("metadata") or {}).get("name", ""))


def _node(raw: RawSnapshot) -> str:
    """The node that was looked at by itself."""
    alone = raw.node if not raw.manifest else None
    return str(((alone or {}).get("metadata") or {}).get("name", ""))


def _later(raw: RawSnapshot, by: timedelta) -> RawSnapshot:
    """The same seen again after a while, by a node whose virt-handler is still at work."""
    node: Any = raw.node
    marks = ((node or {}).get("metadata") or {}).get("annotations") or {}
    began, ended = (_shifted(each, by) for each in (raw.began, raw.ended))
    if LAST_HEARTBEAT in marks:
        metadata = {**node["metadata"], "annotations": {**marks, LAST_HEARTBEAT: began}}
        node = {**node, "metadata": metadata}
    return replace(raw, began=began, ended=ended, node=node)


def _shifted(moment: str, by: timedelta) -> str:
    return (datetime.fromisoformat(moment) + by).isoformat().replace("+00:00", "Z")
