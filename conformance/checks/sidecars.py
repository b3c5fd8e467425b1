"""Containers beside compute: they cost CPU and memory, and nobody pins them."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.qos import saw_resources, unequal
from conformance.checks.registry import Loop, admitted, check, dedicated, dedicated_vmi
from conformance.checks.witnesses import (
    checkpoint,
    cpuset_source,
    held,
    launcher,
    thread_source,
    unread,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Container, Pod, Snapshot
from conformance.model.expectation import Expectation, Sidecar
from conformance.model.vocabulary import COMPUTE, RUNNING

_BESIDE = ("container", "restartable-init")
"""Roles of containers that run as long as compute does."""


def _promised(expectation: Expectation) -> bool:
    return dedicated_vmi(expectation) and bool(expectation.sidecars)


def _unpinned(expectation: Expectation) -> bool:
    """A plain pod of any class may have containers that must not be pinned."""
    relevant = dedicated if expectation.guest else admitted
    return relevant(expectation) and bool(expectation.sidecars)


def _find(pod: Pod, sidecar: Sidecar) -> list[Container]:
    name = sidecar.name
    if name.endswith("*"):
        return [each for each in pod.containers if each.name.startswith(name[:-1])]
    return [each for each in pod.containers if each.name == name]


@check(
    "SIDE-RESOURCES",
    moment=RUNNING,
    applies=_promised,
    unstarted=True,
    look="Look at the sidecar's resources in the launcher pod and at supportContainerResources "
    "of the KubeVirt CR.",
)
def sidecars_cost_what_is_promised(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """Every expected sidecar is there, Guaranteed, with the promised CPU and memory."""
    pod = launcher(snapshot)
    for sidecar in expectation.sidecars:
        containers = _find(pod, sidecar)
        if not containers:
            names = ", ".join(each.name for each in pod.containers)
            seen.saw("containers", names, f"pod {pod.name} .spec")
            seen.wrong(f"pod {pod.name} has no sidecar {sidecar.name}, only {names}")
        for container in containers:
            saw_resources(container, pod.name, seen)
            for clause in unequal(container):
                seen.wrong(f"sidecar {container.name} of pod {pod.name} {clause}")
            owns = _saw_given(snapshot, pod, container, seen)
            for what, wanted, found, effect in (
                ("m CPU", sidecar.cpu_milli, container.requests.cpu_milli, owns),
                (" bytes", sidecar.memory_bytes, container.requests.memory_bytes, ""),
            ):
                if wanted is not None and found is not None and found != wanted:
                    seen.wrong(
                        f"sidecar {container.name} of pod {pod.name} requests {found}{what} "
                        f"instead of {wanted}{what}{effect}",
                        # A containerDisk costs less in later releases.
                        known=container.name.startswith("volume"),
                        doubt=expectation.doubts.get("sidecars"),
                    )
    return f"{len(expectation.sidecars)} sidecars have the CPU and memory that is promised"


def _saw_given(snapshot: Snapshot, pod: Pod, container: Container, seen: Comparison) -> str:
    """What a container was given for a whole number of CPUs, in words; empty for nothing."""
    state = snapshot.node.checkpoint if snapshot.node else None
    cpus = state.entries.get((pod.uid, container.name)) if state else None
    if state is None or not cpus:
        return ""
    source = f"{state.path} entries.{pod.uid}.{container.name}"
    seen.saw(f"exclusive CPUs of {container.name}", cpus, source)
    return f", and owns pCPU {cpus} for it"


@check(
    "SIDE-UNPINNED",
    moment=RUNNING,
    applies=_unpinned,
    # The kubelet moves running containers when it reconciles, every ten seconds.
    settles=Loop.RECONCILE,
    look="Look at the sidecar's CPU request: only whole numbers get exclusive CPUs.",
)
def sidecars_live_in_the_shared_pool(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """No sidecar has exclusive CPUs, and those that run are in the shared pool."""
    pod, state = launcher(snapshot), checkpoint(snapshot)
    given = held(snapshot)
    sidecars = [each for sidecar in expectation.sidecars for each in _find(pod, sidecar)]
    if not sidecars:
        raise Unobserved(f"pod {pod.name} has none of the expected sidecars")
    # The promise is of every container beside compute, such as that of the guest's console.
    sidecars += [
        each
        for each in pod.containers
        if each.role in _BESIDE and each.name != COMPUTE and each not in sidecars
    ]
    seen.saw("shared pool", state.default, f"{state.path} defaultCpuSet")
    # The promise is about fractions: a whole number that somebody configured is pinned.
    whole = [each for each in sidecars if _whole(pod, each)]
    for each in whole:
        why = "a whole number, which the kubelet pins: judged by SIDE-RESOURCES alone"
        seen.saw(f"CPU request of {each.name}", why, f"pod {pod.name}")
    sidecars = [each for each in sidecars if each not in whole]
    if not sidecars:
        raise NotApplicable("every sidecar requests a whole number of CPUs, which is pinned")
    for sidecar in sidecars:
        name = f"sidecar {sidecar.name} of pod {pod.name}"
        entry = state.entries.get((pod.uid, sidecar.name))
        source = f"{state.path} entries.{pod.uid}.{sidecar.name}"
        seen.saw(f"exclusive CPUs of {sidecar.name}", entry or "none", source)
        if entry:
            seen.wrong(f"{name} was given exclusive CPUs {entry} ({source})", final=True)
        if sidecar.running:
            for why in unread(snapshot, sidecar):
                seen.missing(f"not all of {name} was read: {why}")
            _lives_in_the_pool(sidecar, name, state.default, given, seen)
    if not any(sidecar.running for sidecar in sidecars):
        seen.missing("none of the sidecars runs, so that nothing says where they may run")
    names = ", ".join(sidecar.name for sidecar in sidecars)
    return f"{names} have no exclusive CPUs and live in the shared pool {state.default}"


def _whole(pod: Pod, sidecar: Container) -> bool:
    milli = sidecar.requests.cpu_milli
    return pod.qos_class == "Guaranteed" and bool(milli) and (milli or 0) % 1000 == 0


def _lives_in_the_pool(
    sidecar: Container, name: str, pool: CpuSet, given: CpuSet, seen: Comparison
) -> None:
    if sidecar.cpuset is None:
        seen.missing(f"the cpuset of {name} was not read")
        return
    source = cpuset_source(sidecar)
    seen.saw(f"cpuset of {sidecar.name}", sidecar.cpuset, source)
    if sidecar.cpuset & given or not pool <= sidecar.cpuset:
        seen.wrong(
            f"the cpuset of {name} is {sidecar.cpuset} ({source}) instead of the shared pool {pool}"
        )
    for thread in sidecar.threads:
        if thread.affinity & given:
            seen.wrong(
                f"thread {thread.name!r} of {name} may run on {thread.affinity}, of which "
                f"{thread.affinity & given} is exclusive to others ({thread_source(thread)})"
            )
            break
