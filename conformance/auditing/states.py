"""In what state a VMI was found, and whether it can be judged in that.

A VMI that starts, stops, moves or changes its CPUs is between two promises: nothing that is seen of
it then is broken, and it is told as what it is. Source of the fields: kubevirt
api/core/v1/types.go (VirtualMachineInstanceStatus).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]

_COUNTS = ("sockets", "cores", "threads")


class State(StrEnum):
    """What a VMI is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    """Its guest stands still; its threads keep their CPUs, and are judged."""
    STARTING = "starting"
    STOPPING = "stopping"
    MIGRATING = "migrating"
    CHANGING = "changing its CPUs"
    ENDED = "ended"
    UNKNOWN = "in an unknown state"
    ODD = "of a spec that is not judged"
    """It would be refused today, or nobody can say what must be seen of it."""


JUDGED = frozenset({State.RUNNING, State.PAUSED})


@dataclass(frozen=True)
class Found:
    """The state of a VMI, and the fields that say so."""

    state: State
    why: str

    @property
    def judged(self) -> bool:
        """Whether what is promised of a running VMI can be asked of it."""
        return self.state in JUDGED

    def __str__(self) -> str:
        return f"{self.state}: {self.why}" if self.why else str(self.state)


def dedicated(vmi: Json) -> bool:
    """Whether a VMI asks for dedicated CPUs."""
    domain = (vmi.get("spec") or {}).get("domain") or {}
    return (domain.get("cpu") or {}).get("dedicatedCpuPlacement") is True


def found(vmi: Json, launchers: Iterable[Json] | None = None) -> Found:
    """The state of a VMI.

    Args:
        vmi: as the API shows it.
        launchers: its launcher pods, on whatever node; None where they were not looked for.
    """
    conditions = {
        each.get("type"): each for each in (vmi.get("status") or {}).get("conditions") or ()
    }
    return (
        _on_its_way(vmi)
        or _migrating(vmi)
        or _changing(vmi, conditions)
        or _of_launchers(vmi, launchers)
        or _settled(conditions)
    )


def _on_its_way(vmi: Json) -> Found | None:
    phase = (vmi.get("status") or {}).get("phase") or "without a phase"
    if when := (vmi.get("metadata") or {}).get("deletionTimestamp"):
        return Found(State.STOPPING, f".metadata.deletionTimestamp is {when}")
    if phase in ("Succeeded", "Failed"):
        return Found(State.ENDED, f".status.phase is {phase}")
    if phase == "Unknown":
        return Found(State.UNKNOWN, ".status.phase is Unknown: its node does not answer")
    if phase != "Running":
        return Found(State.STARTING, f".status.phase is {phase}")
    return None


def _settled(conditions: Mapping[Any, Json]) -> Found:
    paused = conditions.get("Paused") or {}
    if paused.get("status") == "True":
        return Found(State.PAUSED, f"condition Paused ({paused.get('reason') or 'no reason'})")
    return Found(State.RUNNING, "")


def _migrating(vmi: Json) -> Found | None:
    migration = (vmi.get("status") or {}).get("migrationState") or {}
    if not migration or migration.get("completed") or migration.get("failed"):
        return None
    to = migration.get("targetNode") or "a node that is not chosen yet"
    return Found(State.MIGRATING, f".status.migrationState: to {to}, neither completed nor failed")


def _changing(vmi: Json, conditions: Mapping[Any, Json]) -> Found | None:
    """Hotplug of CPUs: the spec is ahead of the guest until a migration has brought them."""
    if (conditions.get("HotVCPUChange") or {}).get("status") == "True":
        return Found(State.CHANGING, "condition HotVCPUChange")
    status, domain = vmi.get("status") or {}, (vmi.get("spec") or {}).get("domain") or {}
    current, asked = status.get("currentCPUTopology") or {}, domain.get("cpu") or {}
    if not any(current.get(key) for key in _COUNTS) or not any(asked.get(key) for key in _COUNTS):
        return None
    now, wanted = (tuple(each.get(key) or 1 for key in _COUNTS) for each in (current, asked))
    if now == wanted:
        return None
    return Found(
        State.CHANGING,
        f"its spec asks for {'x'.join(map(str, wanted))}, and .status.currentCPUTopology is "
        f"{'x'.join(map(str, now))}",
    )


def _of_launchers(vmi: Json, launchers: Iterable[Json] | None) -> Found | None:
    """What the launcher pods say of a VMI that is Running; None when they say nothing else."""
    pods = list(launchers or ())
    alive = [
        pod
        for pod in pods
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        and not pod["metadata"].get("deletionTimestamp")
    ]
    node = (vmi.get("status") or {}).get("nodeName")
    here = [pod for pod in alive if (pod.get("spec") or {}).get("nodeName") == node]
    if len(alive) > 1:
        names = ", ".join(sorted(pod["metadata"]["name"] for pod in alive))
        return Found(State.MIGRATING, f"it has {len(alive)} launchers: {names}")
    if not here and alive:
        return Found(State.MIGRATING, f"its launcher is not on {node}, its .status.nodeName")
    if not here and pods:
        return Found(State.STOPPING, f"its launcher {pods[0]['metadata']['name']} is going")
    return None
