"""What a run is judged by: requirements, checks, and what the cluster lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import Check, StoryCheck, registered, stories
from conformance.collecting.bundle import BundleError
from conformance.model.expectation import Expectation
from conformance.requirements.catalogue import Catalogue, Requirement, catalogue

_OFFERED = frozenset({"disruption", "hugepages", "kubelet-control", "unlabelled-node"})
EXCUSES = frozenset({"smt", "numa"}) | _OFFERED
"""What a cluster need not have: hardware, pages that are set apart, a second kind of node, leave
to disturb it. What we cannot look at is no excuse: that must be observed."""
_NOT_OFFERED = (False, "this kind of cluster does not offer it")


@dataclass(frozen=True)
class Terms:
    """What a run is judged by.

    Attributes:
        capabilities: by name, (available, reason).
        moments: at which evidence was taken.
    """

    profile: str
    capabilities: Mapping[str, tuple[bool, str]]
    moments: frozenset[str] = frozenset({"running", "refused", "deleted"})

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every requirement."""
        return catalogue()

    def requirements(self) -> Iterator[Requirement]:
        """Those of the profile, in the catalogue's order."""
        return iter(self.catalogue.of_profile(self.profile))

    def checks(self) -> Iterator[tuple[Requirement, Check]]:
        """Those that are judged on single snapshots, with their checks."""
        return iter(self._checks)

    @cached_property
    def _checks(self) -> tuple[tuple[Requirement, Check], ...]:
        checks = registered()
        return tuple(
            (requirement, checks[requirement.id])
            for requirement in self.requirements()
            if requirement.id in checks
        )

    def tales(self, scenario: str) -> Iterator[tuple[Requirement, StoryCheck]]:
        """The requirements of the profile that a scenario shows, with their checks."""
        for requirement in self.requirements():
            for check in stories():
                if (check.requirement, check.scenario) == (requirement.id, scenario):
                    yield requirement, check

    def lacks(self, needs: Iterable[str]) -> str | None:
        """Why a scenario or a case cannot be had on this cluster; None when it can."""
        lacking = self.lacking(needs)
        return f"the cluster lacks {lacking[0]}: {lacking[1]}" if lacking else None

    def applicable(self, expectation: Expectation) -> Iterator[tuple[Requirement, Check]]:
        """Those that have something to say about a case."""
        return (
            (requirement, check)
            for requirement, check in self.checks()
            if check.moment in self.moments and check.applies(expectation)
        )

    def lacking(self, needs: Iterable[str]) -> tuple[str, str] | None:
        """The first needed capability that the cluster lacks, and why."""
        for name in needs:
            default = _NOT_OFFERED if name in _OFFERED else (True, "")
            available, reason = self.capabilities.get(name, default)
            if not available:
                return name, reason
        return None

    def known(self, requirement: Requirement, rules: Collection[str]) -> str | None:
        """What the catalogue says of a divergence, None when it knows of none."""
        for known in requirement.known_divergences:
            if known.concerns(self.profile, rules):
                return f"{known.description} ({known.releases}; {known.reference})"
        return None


def terms_of(run: Mapping[str, Any]) -> Terms:
    """The terms under which a run was recorded. Raises BundleError."""
    missing = {"run", "cluster", "profile", "matrix", "moments", "capabilities", "cases"} - set(run)
    if missing:
        raise BundleError(f"run.json lacks {', '.join(sorted(missing))}: is it of this version?")
    capabilities = {
        name: (bool(item["available"]), str(item["reason"]))
        for name, item in run["capabilities"].items()
    }
    return Terms(run["profile"], capabilities, frozenset(run["moments"]))
