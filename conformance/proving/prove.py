"""Saboteurs at work: on the evidence of runs that kept everything, and on clusters themselves.

Every run here is a `conform run` of its own, as any user would make it.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from conformance.collecting import bundle
from conformance.exits import Exit
from conformance.proving.saboteur import Saboteur, registered
from conformance.proving.trial import Outcome, Prover, Trial, concluded
from conformance.runs import LOG, Runs
from reports.form import load

Say = Callable[[str], None]
BASES = (
    ("--matrix", "smoke"),
    ("--matrix", "scenarios", "--shape", "policy-none"),
    ("--matrix", "scenarios", "--shape", "two-nodes", "-k", "[migration"),
)
"""The runs whose evidence is spoilt: between them they have something for every saboteur."""
_WORST = (Outcome.MISSED, Outcome.BLAMED, Outcome.IDLE, Outcome.CAUGHT)


class NotKeptError(Exception):
    """A run that should keep everything did not, or has no report."""


def on_cluster(
    saboteurs: Sequence[Saboteur], cluster: str, directory: Path, say: Say
) -> list[Trial]:
    """Makes the runs that saboteurs need, and lets them work.

    Raises:
        NotKeptError: a run without a saboteur was not conformant.
    """
    at_once = os.cpu_count() or 1 if cluster == "simulated" else 1
    faults = [each for each in saboteurs if each.fault]
    changes = [each for each in saboteurs if not each.fault]
    bases = [directory / f"kept-{number}" for number, _base in enumerate(BASES)] if changes else []
    with Runs(at_once) as runs:
        made = [
            runs.submit(runs.run, where, "--cluster", cluster, *base)
            for where, base in zip(bases, BASES, strict=False)
        ]
        broken = [runs.submit(_broken, each, cluster, directory, runs) for each in faults]
        if changes:
            say(f"{len(bases)} runs on a {cluster} cluster that keeps everything")
        for done, where in zip(made, bases, strict=True):
            if (code := done.result()) != Exit.CONFORMANT:
                raise NotKeptError(f"the run without a saboteur ended with {code}: {_words(where)}")
        found = on_evidence(changes, bases, say) if changes else []
        for number, each in enumerate(broken, start=1):
            found.append(each.result())
            say(f"{number}/{len(broken)} clusters broken on purpose: {found[-1].saboteur.name}")
    return found


def on_evidence(saboteurs: Sequence[Saboteur], reports: Sequence[Path], say: Say) -> list[Trial]:
    """Lets those saboteurs work that spoil evidence, on each report directory.

    Raises:
        BundleError: there is no evidence in one of them.
    """
    changes = [each for each in saboteurs if not each.fault]
    for report in reports:
        bundle.read(report / "evidence")  # a wrong directory is told at once
    say(f"{len(changes)} saboteurs on the evidence of {', '.join(map(str, reports))}")
    workers = os.cpu_count() or 1
    parts = [[each.name for each in changes[start::workers]] for start in range(workers)]
    with ProcessPoolExecutor(workers) as pool:
        done = pool.map(_part, parts, [list(reports)] * workers)
        by_name = {name: trials for each in done for name, trials in each.items()}
    return [trial for each in changes for trial in by_name[each.name]]


def _part(names: Sequence[str], reports: Sequence[Path]) -> dict[str, list[Trial]]:
    from conformance.proving import all as _all  # noqa: F401 - registers every saboteur

    provers = [Prover(bundle.read(report / "evidence")) for report in reports]
    known = registered()
    return {name: tried(known[name], provers) for name in names}


def tried(saboteur: Saboteur, provers: Iterable[Prover]) -> list[Trial]:
    """What became of a saboteur on each of several runs."""
    found = [trial for each in provers for trial in each.trials(saboteur)]
    worked = [trial for trial in found if trial.outcome is not Outcome.IDLE]
    return worked or found[:1]


def _words(where: Path) -> str:
    """The last line that a run has printed, and what its verdict said."""
    lines = (where / LOG).read_text(errors="replace").splitlines()
    said = [line for line in lines if "CONFORMANT" in line or "INCONCLUSIVE" in line]
    return (said or lines or ["it printed nothing"])[-1]


def _broken(saboteur: Saboteur, cluster: str, directory: Path, runs: Runs) -> Trial:
    """A cluster with a fault, and what the judge says of it."""
    # A fault may break several requirements, each in a run of its own.
    where = directory / saboteur.name.replace("/", "_")
    broken = ("--cluster", cluster, "--break", saboteur.fault, "--patience", "0.3")
    runs.run(where, *broken, *saboteur.arguments)
    try:
        findings = load((where / "report.json").read_text()).findings
    except OSError:
        return Trial(saboteur, Outcome.MISSED, said=f"there is no report: {_words(where)}")
    return concluded(saboteur, "a cluster", frozenset(), findings)


def exit_code(trials: Iterable[Trial]) -> Exit:
    """What `prove` ends with."""
    outcomes = {each.outcome for each in trials}
    if outcomes & {Outcome.MISSED, Outcome.BLAMED}:
        return Exit.NOT_CONFORMANT
    return Exit.INCONCLUSIVE if Outcome.IDLE in outcomes else Exit.CONFORMANT


def as_data(trial: Trial) -> dict[str, Any]:
    """A trial for other programs."""
    return {
        "saboteur": trial.saboteur.name,
        "requirement": trial.saboteur.requirement,
        "case": trial.case or None,
        "outcome": trial.outcome.value,
        "failed": list(trial.failed),
        "blamed_wrongly": list(trial.stray),
        "said": trial.said,
    }


def lines(trials: Sequence[Trial]) -> Iterator[str]:
    """The matrix: a line for each saboteur, whatever was not caught in full, and the sum."""
    by_saboteur: dict[str, list[Trial]] = defaultdict(list)
    for each in trials:
        by_saboteur[each.saboteur.name].append(each)
    width = max(map(len, by_saboteur), default=0)
    for name, tried in by_saboteur.items():
        worst = min(tried, key=lambda each: _WORST.index(each.outcome))
        also = sorted(
            {other for each in tried for other in each.failed} - {worst.saboteur.requirement}
        )
        beside = f"  with {', '.join(also)}" if also else ""
        yield f"{name:<{width}}  {worst.outcome.value:<11}  {len(tried)} cases{beside}"
        if worst.outcome in (Outcome.MISSED, Outcome.BLAMED):
            yield f"    {worst.saboteur.does}"
            yield f"    in {worst.case or 'no case'}: {worst.said}"
    counted = Counter(each.outcome for each in trials)
    requirements = len({each.saboteur.requirement for each in trials})
    summary = ", ".join(f"{counted[each]} {each.value}" for each in Outcome if counted[each])
    yield f"{len(by_saboteur)} saboteurs of {requirements} requirements: {summary}"
