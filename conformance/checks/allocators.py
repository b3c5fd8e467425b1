"""Who gives CPUs beside the kubelet, whose checkpoint is then not the only witness."""

from __future__ import annotations

from conformance.checks.witnesses import checkpoint, launcher, title
from conformance.model.evidence import Checkpoint, Pod, Snapshot, Unlisted


def claimed(pod: Pod) -> str | None:
    """Why the checkpoint need not be the witness of a pod's CPUs; None where it is."""
    if not pod.claims:
        return None
    return (
        f"pod {pod.name} has resourceClaims ({', '.join(pod.claims)}): a driver of DRA may have "
        "given it CPUs, and the kubelet's checkpoint does not say which"
    )


def untold(snapshot: Snapshot) -> str | None:
    """Why compute may have exclusive CPUs of which the checkpoint says nothing; None if not."""
    state = checkpoint(snapshot)
    if state.unknown and not state.given:
        return f"{state.path} has keys that are not known: {', '.join(state.unknown)}"
    return claimed(launcher(snapshot)) or allocator(snapshot)


_ALLOCATORS = ("nri-resource-policy", "dracpu")
"""How containers begin whose plugins of the runtime (NRI) set cpusets themselves: the DaemonSets
of containers/nri-plugins (deployment/helm/*/templates/daemonset.yaml) and of
kubernetes-sigs/dra-driver-cpu."""


def allocator(snapshot: Snapshot) -> str | None:
    """Why the kubelet need not be the one who gives CPUs on the node; None where it is."""
    return snapshot.around.once(_allocator)


def _allocator(
    pods: tuple[Pod, ...], _state: Checkpoint | None, _unlisted: tuple[Unlisted, ...]
) -> str | None:
    return next(
        (
            f"{title(pod, each)} gives CPUs on this node too, and the kubelet's checkpoint does "
            "not say which"
            for pod in pods
            for each in pod.containers
            if each.name.startswith(_ALLOCATORS) and (each.running or each.threads)
        ),
        None,
    )
