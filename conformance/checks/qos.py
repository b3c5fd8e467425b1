"""Quality of service: what makes the kubelet give exclusive CPUs to a container."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import check, dedicated, dedicated_vmi
from conformance.checks.witnesses import compute, launcher, vmi
from conformance.model.evidence import Container, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING


@check(
    "QOS-POD",
    moment=RUNNING,
    applies=dedicated,
    unstarted=True,
    look="Look for a container of the pod without requests equal to limits.",
)
def pod_is_guaranteed(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The launcher pod's class is Guaranteed."""
    pod = launcher(snapshot)
    seen.saw("QoS class", pod.qos_class or "none", f"pod {pod.name} .status.qosClass")
    if pod.qos_class is None:
        seen.missing(f"pod {pod.name} has no .status.qosClass")
    elif pod.qos_class != "Guaranteed":
        seen.wrong(f"launcher pod {pod.name} is {pod.qos_class} instead of Guaranteed")
    return f"launcher pod {pod.name} is Guaranteed"


@check(
    "QOS-CONTAINERS",
    moment=RUNNING,
    applies=dedicated,
    unstarted=True,
    look="Look at .spec.containers[].resources and .spec.initContainers[].resources of the pod.",
)
def containers_request_what_they_limit(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """Every container, init containers too, has CPU and memory, requests equal to limits."""
    pod = launcher(snapshot)
    # An ephemeral container cannot have resources, and does not count for the class.
    containers = [each for each in pod.containers if each.role != "ephemeral"]
    for container in containers:
        saw_resources(container, pod.name, seen)
        for clause in unequal(container):
            seen.wrong(f"container {container.name} ({container.role}) of pod {pod.name} {clause}")
    names = ", ".join(container.name for container in containers)
    return f"{names}: requests equal limits, for CPU and memory"


@check(
    "QOS-VMI",
    moment=RUNNING,
    applies=dedicated_vmi,
    look="Compare .status.qosClass of the VMI with that of its launcher pod.",
)
def vmi_says_that_it_is_guaranteed(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The VMI's own status has the class Guaranteed."""
    found = vmi(snapshot)
    name = f"{found.namespace}/{found.name}"
    if found.qos_class is None:
        raise Unobserved(f"VMI {name} has no .status.qosClass, or it was not recorded")
    seen.saw("QoS class", found.qos_class, f"VMI {name} .status.qosClass")
    if found.qos_class != "Guaranteed":
        seen.wrong(f"VMI {name} says that it is {found.qos_class} instead of Guaranteed")
    return f"VMI {name} says that it is Guaranteed"


def saw_resources(container: Container, pod: str, seen: Comparison) -> None:
    """Notes a container's requests and limits."""
    requests, limits = container.requests, container.limits
    seen.saw(
        f"resources of {container.name}",
        f"cpu {_cpu(requests.cpu_milli)} of {_cpu(limits.cpu_milli)}, "
        f"memory {_bytes(requests.memory_bytes)} of {_bytes(limits.memory_bytes)}",
        f"pod {pod} .spec, container {container.name}, requests of limits",
    )


def unequal(container: Container) -> list[str]:
    """What a container lacks for the class Guaranteed, one clause each."""
    clauses = []
    for what, request, limit, show in (
        ("CPU", container.requests.cpu_milli, container.limits.cpu_milli, _cpu),
        ("memory", container.requests.memory_bytes, container.limits.memory_bytes, _bytes),
    ):
        if request is None or limit is None:
            lacking = "request" if request is None else "limit"
            clauses.append(f"has no {what} {lacking}")
        elif request != limit:
            clauses.append(f"requests {show(request)} of {what} and is limited to {show(limit)}")
        elif request == 0:
            clauses.append(f"requests no {what} at all")
    return clauses


def _cpu(milli: int | None) -> str:
    return "none" if milli is None else f"{milli}m"


def _bytes(number: int | None) -> str:
    return "none" if number is None else f"{number} B"


@check(
    "QOS-INTEGER",
    moment=RUNNING,
    applies=dedicated,
    unstarted=True,
    look="The static policy gives no exclusive CPUs for a fraction; look at what adds to it.",
)
def compute_requests_whole_cpus(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The compute container requests a whole number of CPUs."""
    container, pod = compute(snapshot), launcher(snapshot)
    milli = container.requests.cpu_milli
    seen.saw("CPU request of compute", _cpu(milli), f"pod {pod.name} .spec, compute, requests.cpu")
    if milli is None:
        seen.wrong(f"compute of pod {pod.name} requests no CPU")
    elif milli % 1000 or milli == 0:
        seen.wrong(f"compute of pod {pod.name} requests {milli}m CPU, which is no whole number")
    return f"compute requests {_cpu(milli)} CPU, a whole number"
