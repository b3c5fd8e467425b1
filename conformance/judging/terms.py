"""What a run is judged by: requirements, checks, and what the cluster lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import Check, StoryCheck, registered, stories
from conformance.collecting.bundle import BundleError
from conformance.editions import Labels, labels
from conformance.matrix import kinds
from conformance.matrix.oracle import expect
from conformance.matrix.scenarios import SCENARIOS
from conformance.model.expectation import Expectation
from conformance.model.release import Release
from conformance.model.setting import UNKNOWN, Setting
from conformance.model.vocabulary import (
    API_VERSIONS,
    DELETED,
    DISRUPTION,
    NUMA,
    OFFERED,
    OUTDATED_LAUNCHER,
    PROFILES,
    REFUSED,
    RUNNING,
    SMT,
)
from conformance.parsing.setting import setting
from conformance.requirements.catalogue import Catalogue, Requirement, catalogue

EXCUSES = frozenset({SMT, NUMA}) | OFFERED
"""What a cluster need not have: hardware, pages that are set apart, a second kind of node, leave
to disturb it. What we cannot look at is no excuse: that must be observed."""
_EXPECTATIONS = 1024
"""That are remembered, at the most."""
LEAVE = frozenset({DISRUPTION})
"""Capabilities that a user gives: without them a scenario that applies was not asked for."""
_NOT_OFFERED = (False, "this kind of cluster does not offer it")


@dataclass(frozen=True)
class Lack:
    """Something that a case, a scenario or a requirement needs and does not have.

    Attributes:
        name: of the capability; empty for what a release does not have, or for what nobody can
            say what must be seen of.
        known: whether it was seen to be lacking; otherwise nobody could look.
        excuses: whether it makes a requirement not applicable: a cluster need not have it.
        leave: whether it would have been there for the asking: nothing was asked then.
    """

    name: str
    reason: str
    known: bool = True
    excuses: bool = True
    leave: bool = False

    def __str__(self) -> str:
        if self.known and self.leave and self.name not in LEAVE:
            return f"{self.name} was not asked: {self.reason}"
        if not self.known and not self.name:
            return f"not judged: {self.reason}"
        if not self.known:
            return f"whether the cluster has {self.name} is not known: {self.reason}"
        return f"the cluster lacks {self.name}: {self.reason}" if self.name else self.reason


@dataclass(frozen=True)
class Terms:
    """What a run is judged by.

    Attributes:
        capabilities: by name, (available, reason); None where it could not be read.
        moments: at which evidence was taken.
        setting: of the cluster.
        found: whether the VMIs were found on the cluster instead of made for the run: what they
            have already needs no capability, and their stored spec is what was asked for.
        unasked: capabilities that nobody made use of, on purpose, and why.
    """

    profile: str
    capabilities: Mapping[str, tuple[bool | None, str]]
    moments: frozenset[str] = frozenset({RUNNING, REFUSED, DELETED})
    setting: Setting = UNKNOWN
    found: bool = False
    unasked: Mapping[str, str] = field(default_factory=dict)

    def expect(
        self, manifest: Mapping[str, Any], beside: Iterable[Mapping[str, Any]] = ()
    ) -> Expectation:
        """What the oracle says of a manifest on this cluster, with the types that it names.

        Many manifests of a cluster differ in nothing but their names, which nothing rests on.
        """
        beside = tuple(beside)
        changed = self.setting.changed_since(_created(manifest)) if self.found else None
        # As text, 1 is not True, and not "1".
        key = repr((_without_names(manifest, found=self.found), beside, changed))
        if key not in self._expected:
            if len(self._expected) >= _EXPECTATIONS:
                self._expected.clear()
            self._expected[key] = (
                self._expect_found(manifest, changed)
                if self.found
                else expect(manifest, self.profile, self.setting, beside)
            )
        return self._expected[key]

    @cached_property
    def _expected(self) -> dict[str, Expectation]:
        """By the text of what was asked."""
        return {}

    def _expect_found(self, manifest: Mapping[str, Any], changed: str | None) -> Expectation:
        """Of a VMI that runs already, with its stored spec; `changed` is `Setting.changed_since`.

        The cluster may have been of another release, or configured otherwise, when it started:
        what virt-api made of it then is in its stored spec, such as the annotation for even
        parity. Whatever it has, the cluster could have.
        """
        release = self.setting.kubevirt_release
        then = replace(self.setting, even_parity=False)
        found = expect(manifest, self.profile, then)
        outdated = OUTDATED_LAUNCHER in _labels(manifest)
        doubts = {key: why for key, why in found.doubts.items() if key != "emulator"}
        doubts["scheduled"] = "a label counts when a pod is scheduled, and may have changed since"
        if changed:
            doubts["sidecars"] = changed
        return replace(
            found,
            needs=(),
            unsupported=None,
            doubts=doubts,
            labels=_until(labels(None), release) if outdated else found.labels,
            any_release=outdated,
            unasked=frozenset(self.unasked),
        )

    def during(self, scenario: str) -> Terms:
        """The terms while a scenario is told, which may have changed what VMIs get."""
        if not SCENARIOS[scenario].even_parity:
            return self
        return replace(self, setting=replace(self.setting, even_parity=True))

    @property
    def not_served(self) -> str | None:
        """Why no VMI of the profile can be had: its API version is not served any more, or yet."""
        return self.setting.unserved(API_VERSIONS[self.profile])

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

    def lacks(self, expectation: Expectation) -> Lack | None:
        """Why a case cannot be had on this cluster; None when it can."""
        if expectation.guest and (why := self.not_served):
            return Lack("", why)
        if expectation.undecided is not None:
            return Lack("", expectation.undecided, known=False, excuses=False)
        if expectation.unsupported is not None:
            return Lack("", expectation.unsupported)
        return self.lacking(expectation.needs)

    def applicable(self, expectation: Expectation) -> Iterator[tuple[Requirement, Check]]:
        """Those that have something to say about a case."""
        return (
            (requirement, check)
            for requirement, check in self.checks()
            if check.moment in self.moments
            and check.applies(expectation)
            and not (self.found and check.node_alone)
        )

    def lacking(self, needs: Iterable[str]) -> Lack | None:
        """The first needed capability that the cluster does not have, or may not have."""
        for name in needs:
            default = _NOT_OFFERED if name in OFFERED else (True, "")
            available, reason = self.capabilities.get(name, default)
            if name in self.unasked:
                return Lack(name, self.unasked[name], leave=True)
            if not available:
                known = available is not None
                excuses = known and name in EXCUSES
                return Lack(name, reason, known, excuses, leave=name in LEAVE)
        return None

    def known(
        self, requirement: Requirement, rules: Collection[str], kubelet: str
    ) -> tuple[bool | None, str]:
        """Whether the catalogue knows a divergence of this cluster's releases, and its words.

        None where that depends on a release that is not known.

        Args:
            requirement: what was not kept.
            rules: of refusal that the case breaks.
            kubelet: version of the kubelet whose node was looked at.
        """
        releases = {"kubevirt": self.setting.kubevirt_release, "kubelet": Release.parse(kubelet)}
        undecided = ""
        for known in requirement.known_divergences:
            if known.concerns(self.profile, rules):
                words = f"{known.description} ({known.releases}; {known.reference})"
                if has := known.has(releases[known.of]):
                    return True, words
                if has is None:
                    undecided = undecided or words
        return (None, undecided) if undecided else (False, "")


def _without_names(manifest: Mapping[str, Any], *, found: bool) -> Mapping[str, Any]:
    """A manifest with what its expectation rests on, which names of VMIs are not."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping) or manifest.get("kind") != kinds.VMI:
        return manifest
    own = ("name", "namespace", *(("uid", "creationTimestamp") if found else ()))
    return {**manifest, "metadata": {k: v for k, v in metadata.items() if k not in own}}


def _labels(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    return (manifest.get("metadata") or {}).get("labels") or {}


def _created(manifest: Mapping[str, Any]) -> str | None:
    return (manifest.get("metadata") or {}).get("creationTimestamp")


def _until(rows: Iterable[Labels], release: Release | None) -> tuple[Labels, ...]:
    """Those of releases up to one."""
    return tuple(row for row in rows if release is None or not release.surely_before(row.since))


def terms_of(run: Mapping[str, Any]) -> Terms:
    """The terms under which a run was recorded. Raises BundleError."""
    missing = {"run", "cluster", "profile", "matrix", "moments", "capabilities", "cases"} - set(run)
    if missing:
        raise BundleError(f"run.json lacks {', '.join(sorted(missing))}: is it of this version?")
    if run["profile"] not in PROFILES:
        raise BundleError(f"run.json: this version knows no profile {run['profile']!r:.100}")
    capabilities = {
        name: (
            item["available"] if item["available"] is None else bool(item["available"]),
            str(item["reason"]),
        )
        for name, item in run["capabilities"].items()
    }
    audit = run.get("audit")
    unasked = (audit or {}).get("unasked") or {}
    return Terms(
        run["profile"],
        capabilities,
        frozenset(run["moments"]),
        setting(run.get("setting")),
        found=audit is not None,
        unasked={str(name): str(why) for name, why in unasked.items()},
    )
