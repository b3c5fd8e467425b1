"""What was expected of a case, and what happened, in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from conformance.judging.terms import Lack
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import EVERY_NODE


def summary(expectation: Expectation) -> Mapping[str, str]:
    """An expectation in a few words by aspect; what many cases expect alike is kept once."""
    return _once(*_words(expectation).items())


@lru_cache(maxsize=1024)
def _once(*words: tuple[str, str]) -> Mapping[str, str]:
    return dict(words)


def _words(expectation: Expectation) -> dict[str, str]:
    refusal = expectation.refusal
    if refusal is not None:
        return {
            "refused for": " or ".join(refusal.fields) or "any field",
            "rule": refusal.rule,
        }
    if expectation.undecided is not None:
        return {"not judged": expectation.undecided}
    words = {}
    if expectation.guest:
        words["vCPUs"] = str(expectation.vcpus)
        words["topology"] = f"{expectation.sockets}x{expectation.cores}x{expectation.threads}"
    words = (
        _of_dedicated(words, expectation) if expectation.dedicated else {"CPUs": "shared", **words}
    )
    if expectation.notes:
        words["notes"] = "; ".join(expectation.notes)
    return words


def _of_dedicated(words: Mapping[str, str], expectation: Expectation) -> dict[str, str]:
    words = {**words, "exclusive pCPUs": str(expectation.compute_cpus)}
    if expectation.isolate_emulator:
        words["emulator pCPUs"] = str(expectation.emulator_cpus)
    if expectation.iothreads_policy != "none":
        words["IOThreads"] = expectation.iothreads_policy
    if expectation.sidecars:
        words["sidecars"] = ", ".join(sidecar.name for sidecar in expectation.sidecars)
    if expectation.numa_passthrough:
        words["NUMA nodes"] = "those of its pCPUs"
    return words


def outcome(looks: Iterable[Snapshot], scenario: str, lacking: Lack | None) -> str:
    """What happened, in a few words."""
    if scenario:
        moments = list(dict.fromkeys(facts.moment for facts in looks))
        return f"seen until the moment “{moments[-1]}”" if moments else "not carried out"
    looks = list(looks)
    nodes = {facts.node.name for facts in looks if facts.moment == EVERY_NODE and facts.node}
    if nodes:
        return f"{len(nodes)} node{'' if len(nodes) == 1 else 's'} read"
    for facts in looks:
        if facts.rejection is not None:
            fields = ", ".join(field for field, _message in facts.rejection.causes if field)
            return f"refused ({facts.rejection.code})" + (f" for {fields}" if fields else "")
        if seen := facts.vmi or facts.pod:
            where = f" on {seen.node}" if seen.node else ""
            return f"{seen.phase or 'admitted'}{where}"
        if facts.moment == EVERY_NODE:
            return "looked at by itself"
    return f"not created: {lacking}" if lacking else "nothing was recorded"
