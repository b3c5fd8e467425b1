"""What a saboteur is, and the catalogue of them all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from conformance.matrix.scenarios import SCENARIOS
from conformance.model.vocabulary import LIVE_MIGRATION, RUNNING
from conformance.model.watch import Watched
from conformance.proving.scene import Scene

Glimpse = Callable[[Scene], Watched]
"""What a watcher would have seen of a recording's node; raises `NothingToSpoilError` likewise."""
Change = Callable[[Scene], Scene]
"""Spoils a recording; raises `NothingToSpoilError` when that has nothing of the kind."""


@dataclass(frozen=True)
class Saboteur:
    """One way to break one requirement.

    Attributes:
        name: ``REQUIREMENT/what-it-does``.
        does: that in one sentence.
        also: requirements that may fail with it, since they say the same of the same thing.
        alone: it changes one source, and leaves what every other says as it was.
        bug: the historical defect that it stands for, such as ``kubevirt#4687``.
        moment: of the recordings that it spoils. In a scenario, all of that moment.
        scenario: it spoils what this scenario recorded, of `subject` where that is given.
        glimpse: it shows for a moment, between the looks, and has no `change`.
        fault: it is a fault of the reference stack (`--break`), and has no `change`; arguments:
            of the run that shows it.
    """

    name: str
    requirement: str
    does: str
    also: frozenset[str] = frozenset()
    alone: bool = False
    bug: str = ""
    moment: str = RUNNING
    scenario: str = ""
    subject: str | None = None
    change: Change | None = None
    glimpse: Glimpse | None = None
    fault: str = ""
    arguments: tuple[str, ...] = ()


_ALL: dict[str, Saboteur] = {}


def spoils(
    requirement: str,
    *also: str,
    alone: bool = False,
    bug: str = "",
    moment: str = RUNNING,
    scenario: str = "",
    subject: str | None = None,
) -> Callable[[Change], Change]:
    """Adds the decorated change, whose docstring says what it does; see `Saboteur`."""

    def add(change: Change) -> Change:
        _add(
            Saboteur(
                name=f"{requirement}/{change.__name__.replace('_', '-')}",
                requirement=requirement,
                does=(inspect.getdoc(change) or "").split("\n\n")[0].replace("\n", " "),
                also=frozenset(also),
                alone=alone,
                bug=bug,
                moment=moment,
                scenario=scenario,
                subject=subject,
                change=change,
            )
        )
        return change

    return add


def flits(requirement: str) -> Callable[[Glimpse], Glimpse]:
    """Adds what a watcher alone can see; its docstring says what it is."""

    def add(glimpse: Glimpse) -> Glimpse:
        name = f"{requirement}/{glimpse.__name__.replace('_', '-')}"
        does = (inspect.getdoc(glimpse) or "").replace("\n", " ")
        _add(Saboteur(name, requirement, does, alone=True, glimpse=glimpse))
        return glimpse

    return add


def broken_by(
    fault: str,
    requirement: str,
    *also: str,
    does: str,
    run: str,
    profile: str = "v1",
    bug: str = "",
) -> None:
    """Adds a fault of the reference stack; `run` is what ``-k`` selects in its run."""
    scenario = SCENARIOS.get(run.strip("[]"))
    migrates = scenario is not None and LIVE_MIGRATION in scenario.needs
    nodes = "two-nodes" if migrates else "policy-none"
    shape = ("--matrix", "scenarios", "--shape", nodes) if scenario else ()
    _add(
        Saboteur(
            name=f"{requirement}/{fault.replace('_', '-')}",
            requirement=requirement,
            does=does,
            also=frozenset(also),
            bug=bug,
            fault=fault,
            arguments=(*shape, "-k", run, "--profile", profile),
        )
    )


def _add(saboteur: Saboteur) -> None:
    if saboteur.name in _ALL:
        raise ValueError(f"two saboteurs are called {saboteur.name}")
    _ALL[saboteur.name] = saboteur


def registered() -> Mapping[str, Saboteur]:
    """Every saboteur by name; import `conformance.proving.all` first."""
    return dict(_ALL)


def of(requirements: Iterable[str]) -> list[Saboteur]:
    """The saboteurs of these requirements; of all where none is named."""
    wanted = set(requirements)
    return [each for each in _ALL.values() if not wanted or each.requirement in wanted]
