"""Saboteurs of where the guest's memory lies, and of real time."""

from __future__ import annotations

import re
from typing import Any

from conformance.model.evidence import Domain
from conformance.model.vocabulary import REALTIME_LABEL
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene

# NUMA cells


def _cells(scene: Scene, least: int = 1) -> Domain:
    found = scene.seen.domain
    if found is None or len(found.memory_nodes) < least:
        raise NothingToSpoilError("NUMA cells of the guest")
    return found


def _bound(scene: Scene, cell: int, node: int) -> Scene:
    """The memory of a cell is bound to another node."""
    pattern = rf"(<memnode cellid=['\"]{cell}['\"][^>]* nodeset=)['\"][^'\"]*['\"]"
    return scene.xml(pattern, rf"\g<1>'{node}'")


@spoils("NUMA-MEMORY", alone=True)
def cells_are_swapped(scene: Scene) -> Scene:
    """The memory of the first cell is bound where that of the second belongs, and the reverse."""
    first, second, *_rest = _cells(scene, 2).memory_nodes.items()
    swapped = _bound(scene, first[0], min(second[1]))
    return _bound(swapped, second[0], min(first[1]))


@spoils("NUMA-MEMORY", alone=True)
def cell_is_bound_nowhere(scene: Scene) -> Scene:
    """The domain XML binds the memory of a cell to no node."""
    _cells(scene)
    return scene.xml(r"<memnode cellid=['\"]0['\"][^>]*/>", "")


@spoils("NUMA-MEMORY", alone=True)
def cell_has_less_memory(scene: Scene) -> Scene:
    """The first cell has a page less than the guest is promised."""
    _cells(scene)
    return scene.xml(r"(<cell id=['\"]0['\"][^>]* memory=)['\"]\d+['\"]", r"\g<1>'2048'")


# Pages


def _maps(scene: Scene) -> tuple[str, str]:
    _cells(scene)
    return scene.text("/numa_maps")


@spoils("NUMA-PAGES", alone=True)
def memory_on_a_node_without_vcpus(scene: Scene) -> Scene:
    """The kernel has the guest's memory on a NUMA node on which no vCPU runs."""
    path, text = _maps(scene)
    return scene.file(path, re.sub(r" N\d+=(\d+ kernelpagesize_kB=2048)", r" N7=\1", text))


@spoils("NUMA-PAGES", alone=True)
def pages_of_the_ordinary_size(scene: Scene) -> Scene:
    """The kernel has the guest's memory on ordinary pages."""
    path, text = _maps(scene)
    lines = [line for line in text.splitlines() if " huge " not in line]
    return scene.file(path, "".join(f"{line}\n" for line in lines))


@spoils("NUMA-PAGES", alone=True)
def half_of_the_memory(scene: Scene) -> Scene:
    """Half as many pages are there as the guest has memory."""
    path, text = _maps(scene)

    def half(found: re.Match[str]) -> str:
        return f" N{found[1]}={int(found[2]) // 2} kernelpagesize_kB=2048"

    return scene.file(path, re.sub(r" N(\d+)=(\d+) kernelpagesize_kB=2048", half, text))


# Real time


def _scheduled(scene: Scene, of_the_mask: bool, policy: int, priority: int) -> Scene:
    """The first vCPU that is of the mask, or is not, is scheduled otherwise."""
    if not scene.raw.manifest["spec"]["domain"].get("cpu", {}).get("realtime"):
        raise NothingToSpoilError("a mask of real time")
    for _vcpu, thread in sorted(scene.vcpus.items()):
        if thread.policy is not None and (thread.policy == 1) is of_the_mask:
            path, text = scene.text(f"/proc/{thread.tid}/stat")
            head, _, rest = text.rpartition(")")
            fields = rest.split()
            fields[37:39] = [str(priority), str(policy)]
            return scene.file(path, f"{head}) {' '.join(fields)}\n")
    raise NothingToSpoilError("such a vCPU")


@spoils("RT-SCHED", alone=True)
def vcpu_not_in_real_time(scene: Scene) -> Scene:
    """The thread of a vCPU of the mask is scheduled by the default policy."""
    return _scheduled(scene, True, 0, 0)


@spoils("RT-SCHED", alone=True)
def vcpu_with_another_priority(scene: Scene) -> Scene:
    """The thread of a vCPU of the mask has the highest priority instead of 1."""
    return _scheduled(scene, True, 1, 99)


@spoils("RT-SCHED", alone=True)
def vcpu_in_turns(scene: Scene) -> Scene:
    """The thread of a vCPU of the mask is scheduled by SCHED_RR."""
    return _scheduled(scene, True, 2, 1)


@spoils("RT-SCHED", alone=True)
def vcpu_outside_of_the_mask_in_real_time(scene: Scene) -> Scene:
    """The thread of a vCPU that is not of the mask is scheduled in real time."""
    return _scheduled(scene, False, 1, 1)


# Labels


@spoils("RT-LABEL", alone=True)
def node_without_the_label(scene: Scene) -> Scene:
    """A node whose kernel allows real time bears no label."""

    def edit(node: Any) -> None:
        if REALTIME_LABEL not in node["metadata"].get("labels", {}):
            raise NothingToSpoilError("the label")
        del node["metadata"]["labels"][REALTIME_LABEL]

    return scene.node(edit)


@spoils("RT-LABEL", alone=True)
def kernel_limits_real_time(scene: Scene) -> Scene:
    """The kernel of a labelled node gives real-time threads 950 milliseconds a second."""
    path, _text = scene.text("/sched_rt_runtime_us")
    if REALTIME_LABEL not in (scene.seen.node.labels if scene.seen.node else {}):
        raise NothingToSpoilError("the label")
    return scene.file(path, "950000\n")


@spoils("RT-LABEL", alone=True)
def kernel_forbids_real_time(scene: Scene) -> Scene:
    """The kernel of a labelled node gives real-time threads no time."""
    return kernel_limits_real_time(scene).file(scene.text("/sched_rt_runtime_us")[0], "0\n")
