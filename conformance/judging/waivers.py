"""Failures that a user has allowed, for a reason and a while: counted apart, never hidden.

What is waived stays what it is: a failure that was seen, with its message. Only a failure can be
waived; what was not observed, and what broke in this tool, cannot. The day on which the run began
decides whether a waiver has expired, so that evidence is judged alike on any day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from conformance.collecting.bundle import BundleError
from conformance.command_line import did_you_mean
from conformance.requirements.catalogue import catalogue
from reports import document as report
from reports.waivers import Waiver, WaiverState

_ALL = "*"
_FIELDS = frozenset({"requirement", "case", "node", "reason", "expires"})
_NEEDED = ("requirement", "reason", "expires")


@dataclass(frozen=True)
class Waived:
    """What somebody has allowed; see `reports.waivers.Waiver`."""

    requirement: str
    reason: str
    expires: str
    case: str = _ALL
    node: str = _ALL

    def covers(self, requirement: str, case: str, node: str) -> bool:
        """Whether it is about a finding."""
        return (
            requirement == self.requirement
            and fnmatchcase(case, self.case)
            and fnmatchcase(node, self.node)
        )

    def expired(self, day: str) -> bool:
        """Whether its last day is over."""
        return day > self.expires


def read(path: Path) -> tuple[Waived, ...]:
    """The waivers of a file: YAML with a list called ``waivers``.

    Raises ValueError, which names the file and what of it cannot be used.
    """
    import yaml

    from conformance.safe_yaml import Loader

    try:
        content = yaml.load(path.read_text(), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--waivers {path}: it cannot be read: {error}") from None
    if not isinstance(content, dict) or set(content) != {"waivers"}:
        raise ValueError(f"--waivers {path}: it is no mapping with a list called waivers")
    return parsed(content["waivers"], f"--waivers {path}")


def parsed(entries: Any, where: str) -> tuple[Waived, ...]:
    """Waivers of lists and mappings. Raises ValueError, whose message begins with `where`."""
    if isinstance(entries, list):
        return tuple(_waiver(each, f"{where}: waiver {n}") for n, each in enumerate(entries, 1))
    raise ValueError(f"{where}: waivers is no list")


def _waiver(entry: Any, where: str) -> Waived:
    fields = entry if isinstance(entry, dict) else {}
    for name in _NEEDED:
        if not fields.get(name):
            raise ValueError(f"{where} has no {name}")
    for name, value in fields.items():
        if name not in _FIELDS:
            raise ValueError(f"{where} has {name}, which means nothing")
        if not isinstance(value, str | date) or not value:
            raise ValueError(f"{where}: {name} is no text")
    texts = {name: str(value) for name, value in fields.items()}
    known = [each.id for each in catalogue().requirements]
    if texts["requirement"] not in known:
        meant = did_you_mean(texts["requirement"].upper(), known)
        raise ValueError(f"{where}: there is no requirement {texts['requirement']}{meant}")
    try:
        date.fromisoformat(texts["expires"])
    except ValueError:
        raise ValueError(
            f"{where}: expires is a day such as 2030-01-31, not {texts['expires']!r}"
        ) from None
    return Waived(**texts)


def as_data(waivers: Iterable[Waived]) -> list[Mapping[str, str]]:
    """As the evidence keeps them; `parsed` reads it."""
    return [asdict(each) for each in waivers]


def waived_by(
    waivers: Sequence[Waived], requirement: str, case: str, node: str, day: str
) -> Waived | None:
    """The first waiver that covers a failure on a day."""
    for each in waivers:
        if each.covers(requirement, case, node) and not each.expired(day):
            return each
    return None


class Waivers:
    """The waivers of a run, and which findings they waived."""

    def __init__(self, waivers: Sequence[Waived], day: str) -> None:
        self._waivers = waivers
        self._day = day
        self._used: Counter[Waived] = Counter()

    def apply(self, finding: report.Finding) -> report.Finding:
        """The finding; a failure that a waiver covers is waived. An expired waiver is told."""
        if finding.verdict is not report.Verdict.FAIL:
            return finding
        names = (finding.requirement, finding.case or finding.scenario, finding.node)
        if found := waived_by(self._waivers, *names, self._day):
            self._used[found] += 1
            told = f"Waived until {found.expires}: {found.reason.rstrip('.')}."
            return replace(
                finding, verdict=report.Verdict.WAIVED, look=" ".join((told, finding.look)).strip()
            )
        over = [each for each in self._waivers if each.covers(*names)]
        notes = (f"Its waiver expired on {each.expires}: {each.reason}" for each in over)
        return replace(finding, notes=(*finding.notes, *notes)) if over else finding

    def told(self) -> Iterator[Waiver]:
        """Each of them with what became of it."""
        for each in self._waivers:
            used = self._used[each]
            state = WaiverState.APPLIED if used else WaiverState.UNUSED
            if each.expired(self._day):
                state = WaiverState.EXPIRED
            yield Waiver(
                each.requirement, each.case, each.node, each.reason, each.expires, state, used
            )


def of_run(run: Mapping[str, Any]) -> Waivers:
    """Those that were recorded with a run. Raises BundleError."""
    try:
        return Waivers(parsed(run.get("waivers", []), "run.json"), str(run["run"]["started"])[:10])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(str(error)) from error
