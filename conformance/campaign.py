"""Several runs with one verdict: each shape, each profile, every one a run of its own.

The exit code is the worst of theirs. What the verdict covers is counted together: a requirement
that one run could not show, another may; one that any run saw broken is broken.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from pathlib import Path

from conformance.collecting.aside import keep_aside
from conformance.exits import Exit
from conformance.runs import LOG, Runs
from reports.document import Standing
from reports.wording import STANDINGS

REPORT = "report.json"
WORST_FIRST = (
    Exit.INTERRUPTED,
    Exit.USAGE,
    Exit.NOT_CONFORMANT,
    Exit.INCONCLUSIVE,
    Exit.CONFORMANT,
)


@dataclass(frozen=True)
class Leg:
    """One run of the campaign.

    Attributes:
        arguments: of `./conform run`, without the report directory.
        directory: its report directory, which holds its log too.
    """

    shape: str
    profile: str
    arguments: tuple[str, ...]
    directory: Path

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return f"{self.shape} {self.profile}"


@dataclass(frozen=True)
class Result:
    """How a run ended: exit code and a few words from its report.

    Attributes:
        standings: what it says of each mandatory requirement, by id; empty without a report.
    """

    leg: Leg
    code: Exit
    words: str
    standings: Mapping[str, Standing] = field(default_factory=dict)


def legs(
    shapes: Iterable[str], profiles: Iterable[str], arguments: Sequence[str], directory: Path
) -> tuple[Leg, ...]:
    """One run for each shape and profile, its reports in a directory of its own."""
    return tuple(
        Leg(
            shape,
            profile,
            (*arguments, "--shape", shape, "--profile", profile),
            directory / f"{Path(shape).stem}.{profile}",
        )
        for shape, profile in itertools.product(shapes, profiles)
    )


def run(planned: Sequence[Leg], *, at_once: int, say: Callable[[str], None]) -> int:
    """Makes the runs and returns the worst of their exit codes.

    Args:
        planned: the runs.
        at_once: how many of them at the same time.
        say: is told of each run as it ends.
    """
    results: list[Result] = []
    say(f"{len(planned)} runs, {at_once} at once; each has its log in its report directory")
    with Runs(at_once) as runs:
        legs_run = [runs.submit(_run, leg, runs, say) for leg in planned]
        for future in as_completed(legs_run):
            result = future.result()
            results.append(result)
            say(f"{len(results)}/{len(planned)}  {result.leg.name}: {result.words}")
    for profile in dict.fromkeys(leg.profile for leg in planned):
        say(together(profile, [each for each in results if each.leg.profile == profile]))
    for result in results:
        if result.code is not Exit.CONFORMANT:
            say(f"{result.leg.name}: exit code {result.code:d}; {result.leg.directory}")
    return int(min((result.code for result in results), key=WORST_FIRST.index))


def together(profile: str, results: Sequence[Result]) -> str:
    """What the runs of a profile say together of its requirements."""
    found: dict[str, Standing] = {}
    order = list(Standing)
    for result in results:
        for requirement, standing in result.standings.items():
            worst = min(found.get(requirement, standing), standing, key=order.index)
            found[requirement] = worst
    of = {each: [name for name, standing in found.items() if standing is each] for each in order}
    applying = len(found) - len(of[Standing.NOT_APPLICABLE])
    kept = f"{len(of[Standing.KEPT])} of {applying} mandatory requirements that apply were kept"
    silent = sum(not each.standings for each in results)
    parts = [
        f"{profile}, {len(results)} runs together: {kept}",
        f"{silent} runs have no report" if silent else "",
        *(
            f"{STANDINGS[standing]}: {', '.join(names)}"
            for standing, names in of.items()
            if names and standing is not Standing.KEPT
        ),
    ]
    return "; ".join(filter(None, parts))


def _run(leg: Leg, runs: Runs, say: Callable[[str], None]) -> Result:
    leg.directory.mkdir(parents=True, exist_ok=True)
    # What an earlier campaign said of it says nothing of this one, should this one say nothing.
    if former := keep_aside(leg.directory):
        if (leg.directory / LOG).exists():
            (leg.directory / LOG).rename(former / LOG)
        say(f"the report that was there is kept in {former}")
    code = runs.run(leg.directory, *leg.arguments)
    standings: dict[str, Standing] = {}
    try:
        report = json.loads((leg.directory / REPORT).read_text())
        standings = {
            each["id"]: Standing(each["standing"])
            for each in report["requirements"]
            if each["level"] == "MUST"
        }
        counted = ", ".join(f"{n} {verdict}" for verdict, n in report["counts"].items() if n)
        said = report["conclusion"]
        words = (
            f"{said['outcome']}: {said['kept']} of {said['applying']} requirements ({counted}; "
            f"{report['run']['seconds']:.0f} s)"
        )
    except (OSError, ValueError, KeyError, TypeError):
        words = f"no report; see {leg.directory / LOG}"
    # A run that was killed by a signal has no code of ours, and one without a report no verdict.
    known = code in set(Exit) and (standings or code not in (Exit.CONFORMANT, Exit.NOT_CONFORMANT))
    return Result(leg, Exit(code) if known else Exit.INCONCLUSIVE, words, standings)
