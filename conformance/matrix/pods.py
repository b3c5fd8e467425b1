"""Plain pods: what a launcher asks of the kubelet, without a KubeVirt.

Their container is called ``compute``, so that the checks of CPUs, quality of service and
release see what they see of a launcher. They judge a cluster that has a CPU manager and
nothing else, and stand in for launchers where a story needs no guest.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from conformance.matrix.manifests import Images
from conformance.matrix.quantity import parse_quantity
from conformance.model.expectation import Expectation, Sidecar
from conformance.model.vocabulary import COMPUTE, HOSTNAME

MEMORY = "32Mi"
STAY = ("sh", "-c", "trap 'exit 1' TERM; sleep 2147483647 & wait")
"""Stays until it gets SIGTERM, then fails: as process 1 it would ignore it otherwise."""

Resources = Mapping[str, Mapping[str, str]]
"""``requests`` and ``limits`` of a container."""


def guaranteed(cpu: object, memory: str = MEMORY) -> Resources:
    """Requests that equal the limits."""
    amounts = {"cpu": str(cpu), "memory": memory}
    return {"requests": amounts, "limits": dict(amounts)}


def pod(
    name: str,
    resources: Resources,
    *,
    beside: Mapping[str, Resources] | None = None,
    node: str = "",
    restart_policy: str = "Never",
    images: Images | None = None,
) -> dict[str, Any]:
    """The manifest of a pod, without a namespace.

    Args:
        name: of the pod.
        resources: of its container ``compute``.
        beside: further containers by name, with theirs.
        node: the only node on which it may run; empty for any.
        restart_policy: what happens to a container that ends.
        images: whose ``sidecar`` all containers run.
    """
    containers = {COMPUTE: resources, **(beside or {})}
    image = (images or Images()).sidecar
    spec: dict[str, Any] = {
        "restartPolicy": restart_policy,
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": each,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": list(STAY),
                "resources": {key: dict(value) for key, value in amounts.items()},
            }
            for each, amounts in containers.items()
        ],
    }
    if node:
        spec["nodeSelector"] = {HOSTNAME: node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def expect_pod(manifest: Mapping[str, Any]) -> Expectation:
    """What the CPU manager must do with a pod.

    The static policy gives exclusive CPUs to containers of Guaranteed pods that request a
    whole number of them, and to no others (Kubernetes, CPU management policies).
    """
    containers = manifest["spec"]["containers"]
    all_equal = all(_guaranteed(container) for container in containers)
    compute = next(each for each in containers if each["name"] == COMPUTE)
    own = _cpus(compute) if all_equal else Fraction(0)
    dedicated = own >= 1 and own.denominator == 1
    return Expectation(
        guest=False,
        dedicated=dedicated,
        compute_cpus=int(own) if dedicated else 0,
        sidecars=tuple(
            Sidecar(each["name"], None, None)
            for each in containers
            if not (dedicated and each is compute)
        ),
    )


def _guaranteed(container: Mapping[str, Any]) -> bool:
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    requests = {**limits, **(resources.get("requests") or {})}
    return all(
        key in limits and parse_quantity(requests[key]) == parse_quantity(limits[key])
        for key in ("cpu", "memory")
    )


def _cpus(container: Mapping[str, Any]) -> Fraction:
    return parse_quantity(container["resources"]["limits"]["cpu"])


_BURSTABLE = {
    "requests": {"cpu": "1", "memory": MEMORY},
    "limits": {"cpu": "2", "memory": MEMORY},
}

PODS: Mapping[str, tuple[str, Resources, Mapping[str, Resources]]] = {
    "pod-1": ("a Guaranteed pod of one CPU", guaranteed(1), {}),
    "pod-2": ("a Guaranteed pod of two CPUs", guaranteed(2), {}),
    "pod-3": ("a Guaranteed pod of three CPUs", guaranteed("3000m"), {}),
    "pod-4": ("a Guaranteed pod of four CPUs", guaranteed(4), {}),
    "pod-sidecar": (
        "two CPUs beside a container of 200m",
        guaranteed(2),
        {"helper": guaranteed("200m")},
    ),
    "pod-half": ("one and a half CPUs are not exclusive", guaranteed("1500m"), {}),
    "pod-burstable": ("a request below its limit is not exclusive", _BURSTABLE, {}),
    "pod-spoilt": (
        "two CPUs beside a container without limits are not exclusive",
        guaranteed(2),
        {"helper": {}},
    ),
    "pod-plain": ("a pod that asks for nothing lives in the shared pool", {}, {}),
}
"""Title, resources of compute, and further containers, by case id."""
