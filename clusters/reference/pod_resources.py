"""What a pod asks for: defaults, QoS class, and what it costs a node."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping

from clusters.reference import quantity
from clusters.reference.apiserver.store import Object

GUARANTEED = "Guaranteed"
BURSTABLE = "Burstable"
BEST_EFFORT = "BestEffort"

CPU = "cpu"
MEMORY = "memory"

Amounts = Mapping[str, int]
"""Amount by resource name: CPUs in thousandths, everything else in whole units."""


def with_defaults(pod: Object) -> Object:
    """The pod with the API server's defaults: requests copied from limits, and the like.

    kubernetes pkg/apis/core/v1/defaults.go.
    """
    pod = copy.deepcopy(pod)
    spec = pod.setdefault("spec", {})
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    for container in all_containers(spec):
        resources = container.setdefault("resources", {})
        limits = resources.get("limits") or {}
        if limits:
            resources["requests"] = {**limits, **(resources.get("requests") or {})}
    status = pod.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status["qosClass"] = qos_class(spec)
    return pod


def all_containers(spec: Object) -> list[Object]:
    """Init containers, then the others."""
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def is_sidecar(init_container: Object) -> bool:
    """Whether an init container keeps running beside the others."""
    return init_container.get("restartPolicy") == "Always"


def requests_of(container: Object) -> Amounts:
    """The requests of one container."""
    return _amounts((container.get("resources") or {}).get("requests"))


def limits_of(container: Object) -> Amounts:
    """The limits of one container."""
    return _amounts((container.get("resources") or {}).get("limits"))


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort; init containers count too.

    kubernetes pkg/apis/core/v1/helper/qos.
    """
    containers = all_containers(spec)
    stated = [
        {name for name in (CPU, MEMORY) if amounts.get(name)}
        for container in containers
        for amounts in (requests_of(container), limits_of(container))
    ]
    if not any(stated):
        return BEST_EFFORT
    for container in containers:
        requests, limits = requests_of(container), limits_of(container)
        for name in (CPU, MEMORY):
            if not limits.get(name) or requests.get(name, limits[name]) != limits[name]:
                return BURSTABLE
    return GUARANTEED


def effective_requests(spec: Object) -> Amounts:
    """What the scheduler counts: k8s.io/component-helpers/resource PodRequests.

    Restartable init containers add to everything that starts after them; an ordinary init
    container counts only while it runs, so the largest phase decides.
    """
    sidecars: Counter[str] = Counter()
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        own = Counter(requests_of(container))
        if is_sidecar(container):
            sidecars += own
            own = Counter()
        _raise_to(peak, (sidecars + own).items())
    total = sidecars + sum(
        (Counter(requests_of(c)) for c in spec.get("containers") or ()), Counter()
    )
    _raise_to(peak, total.items())
    return peak


def _raise_to(peak: dict[str, int], amounts: Iterable[tuple[str, int]]) -> None:
    for name, amount in amounts:
        peak[name] = max(peak.get(name, 0), amount)


def _amounts(resources: Mapping[str, quantity.Written] | None) -> Amounts:
    return {
        name: quantity.milli(text) if name == CPU else quantity.value(text)
        for name, text in (resources or {}).items()
    }
