"""What is to be done next for the containers of a pod: pure, from their states alone.

kubernetes pkg/kubelet/kuberuntime: ordinary init containers one after the other, restartable
ones beside everything that follows, the others together; restarts with a growing delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from clusters.reference import pod_resources
from clusters.reference.apiserver.store import Object

FIRST_BACKOFF = 10.0
LAST_BACKOFF = 300.0


class Role(Enum):
    """When a container runs."""

    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"


@dataclass
class ContainerRecord:
    """What the kubelet knows of one container of a pod.

    Attributes:
        id: of the running or the last container, empty before the first.
        exit_code: of the last container once it has ended.
        ended_at: event loop time of its end.
        problem: reason why it cannot start, such as ``ImagePullBackOff``.
        log: what the last container that is gone had printed.
    """

    spec: Object
    role: Role
    id: str = ""
    running: bool = False
    exit_code: int | None = None
    restarts: int = 0
    started: str = ""
    finished: str = ""
    ended_at: float = 0.0
    problem: str = ""
    log: str = ""

    @property
    def name(self) -> str:
        """Name in the pod."""
        name: str = self.spec["name"]
        return name

    @property
    def begun(self) -> bool:
        """Whether it ever ran."""
        return bool(self.id)


@dataclass(frozen=True)
class Start:
    """Start this container now."""

    record: ContainerRecord


@dataclass(frozen=True)
class Wait:
    """Nothing to do until something changes, or for so many seconds at most."""

    seconds: float | None = None


@dataclass(frozen=True)
class Finish:
    """Every container has done what it could: stop the sidecars, take this phase."""

    phase: str


Step = Start | Wait | Finish


def records_of(spec: Object) -> list[ContainerRecord]:
    """A record for each container, in the order of starting."""
    inits = [
        ContainerRecord(c, Role.SIDECAR if pod_resources.is_sidecar(c) else Role.INIT)
        for c in spec.get("initContainers") or ()
    ]
    return inits + [ContainerRecord(c, Role.MAIN) for c in spec["containers"]]


def next_step(records: Sequence[ContainerRecord], policy: str, time: float) -> Step:
    """The next thing to do.

    Args:
        records: of all containers of the pod, in the order of starting.
        policy: ``restartPolicy`` of the pod.
        time: of the event loop.
    """
    mains = [record for record in records if record.role is Role.MAIN]
    begun = any(record.begun for record in mains)
    if begun and all(_is_over(record, policy) for record in mains):
        failed = any(record.exit_code for record in mains)
        return Finish("Failed" if failed else "Succeeded")
    soonest: float | None = None
    for record in records:
        if record.role is Role.INIT and begun:
            continue
        if record.role is Role.INIT and record.exit_code and _is_over(record, policy):
            return Finish("Failed")
        delay = _delay(record, policy, time)
        if delay is not None and delay <= 0:
            return Start(record)
        if delay is not None:
            soonest = delay if soonest is None else min(soonest, delay)
        if not begun and not is_ready(record) and record.role is not Role.MAIN:
            break
    return Wait(soonest)


def is_ready(record: ContainerRecord) -> bool:
    """Whether what comes after it may start."""
    return record.exit_code == 0 if record.role is Role.INIT else record.running


def phase_of(records: Sequence[ContainerRecord]) -> str:
    """Pending or Running, while the pod is not over."""
    mains = [record for record in records if record.role is Role.MAIN]
    return "Running" if any(record.begun for record in mains) else "Pending"


def _is_over(record: ContainerRecord, policy: str) -> bool:
    """Whether it has ended and is not to be started again."""
    if record.running or record.exit_code is None or record.role is Role.SIDECAR:
        return False
    if record.role is Role.MAIN and policy == "Always":
        return False
    return record.exit_code == 0 or policy == "Never"


def _delay(record: ContainerRecord, policy: str, time: float) -> float | None:
    """Seconds until its start, None when it is not to be started."""
    if record.running or record.problem or _is_over(record, policy):
        return None
    if not record.begun or not record.restarts:
        return 0.0
    backoff = min(LAST_BACKOFF, FIRST_BACKOFF * float(2 ** (record.restarts - 1)))
    return record.ended_at + backoff - time
