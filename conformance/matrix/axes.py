"""What is varied: the axes of the matrices, what may not be combined, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from conformance.matrix.covering import Constraint, Row
from conformance.matrix.manifests import SMALL_MEMORY, Wish
from conformance.model.vocabulary import V1ALPHA2

MOST_VCPUS = 8

_SOURCES: Mapping[str, str] = {
    "topology": "by topology",
    "requests": "by the CPU request",
    "limits": "by the CPU limit",
    "equal": "by equal CPU request and limit",
    "both": "by topology and resources that agree",
}
_EMULATOR: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "with-vcpus": ("", {}),
    "isolated": ("an isolated emulator thread", {"isolate": True}),
    "even": (
        "an isolated emulator thread that makes the CPUs even",
        {"isolate": True, "even_parity": True},
    ),
}
_IOTHREADS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "no-io": ("", {}),
    "io-shared": ("shared IOThreads", {"iothreads_policy": "shared"}),
    "io-auto": ("automatic IOThreads", {"iothreads_policy": "auto"}),
    "io-disk": ("an IOThread for one disk", {"dedicated_iothread": True}),
    "io-pool": (
        "a supplemental IOThread",
        {"iothreads_policy": "supplementalPool", "supplemental_iothreads": 1},
    ),
}
_SIDECARS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "alone": ("", {}),
    "hook": ("a hook sidecar", {"hooks": 1}),
    "hooks": ("two hook sidecars", {"hooks": 2}),
    "disk": ("a containerDisk", {"container_disk": True}),
    "hook-disk": ("a hook sidecar and a containerDisk", {"hooks": 1, "container_disk": True}),
}
_MEMORY: Mapping[str, Mapping[str, Any]] = {
    "limits": {"limits_memory": SMALL_MEMORY},
    "requests": {"limits_memory": None, "requests_memory": SMALL_MEMORY},
    "guest": {"limits_memory": None, "guest_memory": SMALL_MEMORY},
    "equal": {"limits_memory": SMALL_MEMORY, "requests_memory": SMALL_MEMORY},
}


@dataclass(frozen=True)
class Breadth:
    """How much of the axes a matrix covers.

    Attributes:
        strength: number of axes of which every combination occurs.
        sockets, cores: the values tried.
        cores_alone: values of cores in the older generation, which has no sockets.
    """

    strength: int
    sockets: tuple[int, ...]
    cores: tuple[int, ...]
    cores_alone: tuple[int, ...]


STANDARD = Breadth(2, (1, 2, 3), (1, 2, 4), (1, 2, 5, 8))
FULL = Breadth(3, (1, 2, 4, 8), (1, 2, 3, 4), tuple(range(1, MOST_VCPUS + 1)))


def axes(profile: str, breadth: Breadth, cpus: int) -> Mapping[str, Sequence[object]]:
    """The values by axis, as far as a node of so many exclusive CPUs has room for them.

    The older generation has cores only, and no isolation.
    """

    def fitting(counts: tuple[int, ...]) -> Sequence[object]:
        return [count for count in counts if count <= _room(cpus)]

    common: dict[str, Sequence[object]] = {"sidecars": list(_SIDECARS), "memory": list(_MEMORY)}
    if profile == V1ALPHA2:
        sources = [source for source in _SOURCES if source != "both"]
        return {"cores": fitting(breadth.cores_alone), "source": sources, **common}
    return {
        "sockets": fitting(breadth.sockets),
        "cores": fitting(breadth.cores),
        "threads": fitting((1, 2)),
        "source": list(_SOURCES),
        "emulator": list(_EMULATOR),
        "iothreads": list(_IOTHREADS),
        **common,
    }


def constraints(profile: str, cpus: int) -> Sequence[Constraint]:
    """What may be combined.

    Args:
        profile: the generation.
        cpus: exclusive CPUs of the node.
    """
    room = _room(cpus)
    if profile == V1ALPHA2:
        return (Constraint(("cores",), lambda row: _vcpus(row) <= min(room, MOST_VCPUS)),)
    topology = ("sockets", "cores", "threads")
    return (
        Constraint(topology, lambda row: _vcpus(row) <= MOST_VCPUS),
        Constraint((*topology, "emulator", "iothreads"), lambda row: _cpus(row) <= room),
        # A count by resources has no shape: it stands on the axis of sockets alone, so that
        # every combination that is counted as covered is really written.
        Constraint(
            ("cores", "threads", "source"),
            lambda row: row["source"] in ("topology", "both") or _vcpus({**row, "sockets": 1}) == 1,
        ),
    )


def wish(row: Row) -> Wish:
    """What the VMI of a row asks for."""
    wished: dict[str, Any] = {**_MEMORY[str(row["memory"])]}
    for axis, values in (("emulator", _EMULATOR), ("iothreads", _IOTHREADS)):
        wished |= values[str(row[axis])][1] if axis in row else {}
    wished |= _SIDECARS[str(row["sidecars"])][1]
    return replace(Wish(**wished), **_count(row))


def case_id(row: Row) -> str:
    """Short and unique: the values, without those that say nothing."""
    count = "x".join(str(row[axis]) for axis in ("sockets", "cores", "threads") if axis in row)
    rest = [
        str(row[axis]) for axis in ("source", "emulator", "iothreads", "sidecars") if axis in row
    ]
    said = [value for value in rest if value not in ("with-vcpus", "no-io", "alone")]
    return "-".join([count, *said, f"mem-{row['memory']}"])


def title(row: Row) -> str:
    """A sentence without its full stop."""
    vcpus = _vcpus(row)
    shape = "x".join(str(row[axis]) for axis in ("sockets", "cores", "threads") if axis in row)
    shaped = row["source"] in ("topology", "both") and "sockets" in row
    count = f"{vcpus} vCPU{'' if vcpus == 1 else 's'}{f' as {shape}' if shaped else ''}"
    companions = [
        values[str(row[axis])][0]
        for axis, values in (
            ("emulator", _EMULATOR),
            ("iothreads", _IOTHREADS),
            ("sidecars", _SIDECARS),
        )
        if axis in row and values[str(row[axis])][0]
    ]
    source = _SOURCES[str(row["source"])]
    memory = (
        f"memory by {row['memory']}"
        if row["memory"] != "equal"
        else "memory by equal request and limit"
    )
    return ", ".join([f"{count} {source}", *companions, memory])


def _count(row: Row) -> dict[str, Any]:
    vcpus, source = _vcpus(row), row["source"]
    count: dict[str, Any] = {}
    if source in ("topology", "both"):
        count |= {axis: row[axis] for axis in ("sockets", "cores", "threads") if axis in row}
    if source in ("requests", "equal", "both"):
        count["requests_cpu"] = vcpus
    if source in ("limits", "equal"):
        count["limits_cpu"] = str(vcpus)
    return count


def _room(cpus: int) -> int:
    """CPUs of one VMI: one is left for its sidecars and everyone else."""
    return cpus - 1


def _number(row: Row, axis: str) -> int:
    value = row.get(axis, 1)
    assert isinstance(value, int)
    return value


def _vcpus(row: Row) -> int:
    return _number(row, "sockets") * _number(row, "cores") * _number(row, "threads")


def _cpus(row: Row) -> int:
    """CPUs of the compute container, counted here on purpose without asking the oracle."""
    others = _vcpus(row) + (row["iothreads"] == "io-pool")
    return others + {"with-vcpus": 0, "isolated": 1, "even": 2 - others % 2}[str(row["emulator"])]
