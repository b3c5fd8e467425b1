"""The setting of a cluster as a report shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from conformance.editions import beyond
from conformance.model.evidence import RawSnapshot, Resources
from conformance.model.setting import Setting
from reports import document as report

_MACHINE = re.compile(r"<type\b[^>]*\bmachine=['\"]([^'\"]{1,80})['\"]")
_HEAD = 20_000
"""Characters of a domain XML in which its machine type stands."""


def described(setting: Setting, libvirt: tuple[str, ...]) -> report.Setting:
    """What was read of a cluster, and what of it could not be.

    Args:
        setting: as it was read before the first case.
        libvirt: what the evidence shows of libvirt; see `libvirt_seen`.
    """
    return report.Setting(
        kubernetes=setting.kubernetes,
        kubevirt=setting.kubevirt,
        served=None if setting.served is None else tuple(sorted(setting.served)),
        gates=None if setting.gates is None else tuple(sorted(setting.gates)),
        disabled_gates=tuple(sorted(setting.disabled_gates)),
        even_parity=setting.even_parity,
        support={
            name: _resources(limits) for name, limits in sorted(setting.support_limits.items())
        },
        max_cpu_sockets=setting.max_cpu_sockets,
        nodes={
            name: report.Software(
                node.kubelet, node.runtime, node.kernel, node.os_image, node.architecture
            )
            for name, node in sorted(setting.nodes.items())
        },
        libvirt=libvirt,
        unread=dict(setting.unread),
        remarks=beyond(setting.kubevirt_release, setting.kubernetes_release),
    )


def libvirt_seen(raw: RawSnapshot) -> Iterator[str]:
    """Versions and the machine type, which tells QEMU's release, if a snapshot shows them."""
    if raw.domain is None:
        return
    machine = _MACHINE.search(raw.domain.xml[:_HEAD])
    words = (raw.domain.versions, f"machine type {machine[1]}" if machine else "")
    if found := ", ".join(filter(None, words)):
        yield found


def _resources(limits: Resources) -> str:
    cpu = "" if limits.cpu_milli is None else f"{limits.cpu_milli}m CPU"
    memory = "" if limits.memory_bytes is None else f"{limits.memory_bytes} bytes"
    return " and ".join(filter(None, (cpu, memory))) or "nothing"
