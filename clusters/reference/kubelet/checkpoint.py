"""The CPU manager's checkpoint file ``cpu_manager_state``, in upstream's format.

Format and checksum follow kubernetes pkg/kubelet/cm/cpumanager/state/checkpoint.go and
pkg/kubelet/checkpointmanager/checksum: FNV-1a (32 bit) over the struct as go-spew prints it
with types, map keys sorted and the checksum field 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet

PATH = "/var/lib/kubelet/cpu_manager_state"

Entries = Mapping[str, Mapping[str, CpuSet]]
"""Exclusive pCPUs by container name by pod UID."""


class CheckpointError(Exception):
    """The file is corrupt or belongs to another policy."""


@dataclass(frozen=True)
class Checkpoint:
    """What the file says.

    Attributes:
        default: the shared pool; empty under policy ``none``.
    """

    policy: str
    default: CpuSet = frozenset()
    entries: Entries = field(default_factory=dict)

    def dump(self) -> str:
        """The text of the file."""
        content: dict[str, object] = {
            "policyName": self.policy,
            "defaultCpuSet": cpuset.render(self.default),
        }
        if self.entries:
            content["entries"] = self._rendered()
        content["checksum"] = self.checksum
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Checkpoint:
        """Reads the file. Raises CheckpointError when the checksum does not fit."""
        try:
            content = json.loads(text)
            checkpoint = cls(
                content["policyName"],
                cpuset.parse(content["defaultCpuSet"]),
                {
                    uid: {name: cpuset.parse(cpus) for name, cpus in containers.items()}
                    for uid, containers in content.get("entries", {}).items()
                },
            )
        except (ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{PATH} cannot be read ({error!r}): {text!r}") from error
        if content.get("checksum") not in (0, None, checkpoint.checksum):
            raise CheckpointError(f"{PATH}: checkpoint is corrupted: {text!r}")
        return checkpoint

    @property
    def checksum(self) -> int:
        """Upstream's checksum of this content."""
        entries = " ".join(
            f"{uid}:map[{' '.join(f'{name}:{cpus}' for name, cpus in containers.items())}]"
            for uid, containers in self._rendered().items()
        )
        printed = (
            f"(*state.CPUManagerCheckpoint){{PolicyName:(string){self.policy} "
            f"DefaultCPUSet:(string){cpuset.render(self.default)} "
            f"Entries:(map[string]map[string]string)map[{entries}] "
            "Checksum:(checksum.Checksum)0}"
        )
        value = 0x811C9DC5
        for byte in printed.encode():
            value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
        return value

    def _rendered(self) -> dict[str, dict[str, str]]:
        return {
            uid: {name: cpuset.render(containers[name]) for name in sorted(containers)}
            for uid, containers in sorted(self.entries.items())
        }
