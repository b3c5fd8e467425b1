"""Everything about a cluster that legitimately changes what must be seen on it.

It is read before the first case (`conformance.collecting.setting`) and never from a VMI under
test: a mutation that went wrong must not become its own excuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from conformance.model.evidence import Resources
from conformance.model.release import Release


@dataclass(frozen=True)
class Software:
    """What runs on one node, as its ``.status.nodeInfo`` says.

    Attributes:
        runtime: such as ``containerd://1.7.24``.
    """

    kubelet: str = ""
    runtime: str = ""
    kernel: str = ""
    os_image: str = ""
    architecture: str = ""


@dataclass(frozen=True)
class Setting:
    """What was read of a cluster. None, empty or missing where it was not.

    Attributes:
        kubernetes, kubevirt: versions in words; `kubevirt` is what virt-operator has observed
            (``.status.observedKubeVirtVersion`` of the CR).
        gates, disabled_gates: feature gates that the CR lists; None where no CR was read.
        even_parity: the CR has the gate AlignCPUs and the annotation
            ``alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity``, so that virt-api puts that
            on every VMI with an isolated emulator thread (vmi-mutator.go).
        support_limits: limits of ``supportContainerResources`` by type, such as ``sidecar``.
        max_cpu_sockets: ``maximumCpuSockets`` of the CR.
        emulated_machines, machine_types: patterns of machine types that the CR allows, and the
            default, by architecture; that for every one under an empty name.
        default_architecture: that of a VMI that names none.
        rollout_strategy: ``vmRolloutStrategy`` of the CR.
        served: versions of kubevirt.io that the API serves; None where that was not read.
        changed: when somebody last changed the CR, other than its status; None where that is
            not known.
        nodes: software by node.
        unread: reason by part (``setting kubernetes kubevirt served nodes``) for what could not
            be read.
    """

    kubernetes: str = ""
    kubevirt: str = ""
    gates: frozenset[str] | None = None
    disabled_gates: frozenset[str] = frozenset()
    even_parity: bool = False
    support_limits: Mapping[str, Resources] = field(default_factory=dict)
    max_cpu_sockets: int | None = None
    emulated_machines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    machine_types: Mapping[str, str] = field(default_factory=dict)
    default_architecture: str = ""
    rollout_strategy: str = ""
    served: frozenset[str] | None = None
    changed: datetime | None = None
    nodes: Mapping[str, Software] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def kubevirt_release(self) -> Release | None:
        """The release of KubeVirt; None where it is not known."""
        return Release.parse(self.kubevirt)

    @property
    def kubernetes_release(self) -> Release | None:
        """The release of Kubernetes; None where it is not known."""
        return Release.parse(self.kubernetes)

    def unserved(self, version: str) -> str | None:
        """Why nothing can be asked for in a version of kubevirt.io; None where that is not so."""
        if self.served is None or version in self.served:
            return None
        served = ", ".join(sorted(self.served)) or "no version"
        return f"the cluster does not serve kubevirt.io/{version}, only {served}"

    def changed_since(self, created: str | None) -> str | None:
        """Why something that was created then may have met another configuration; None if not."""
        if self.changed is None or created is None:
            return None
        try:
            then = datetime.fromisoformat(created)
        except ValueError:
            return None
        if then.tzinfo is None or then > self.changed:
            return None
        return f"the KubeVirt CR was changed at {self.changed}, after it was created ({created})"

    @property
    def configured(self) -> bool:
        """Whether KubeVirt's own configuration is known."""
        return self.gates is not None

    @property
    def unconfigured(self) -> str:
        """Why KubeVirt's own configuration is not known."""
        return self.unread.get("kubevirt") or self.unread.get("setting") or "it was not recorded"


UNKNOWN = Setting(unread={"setting": "the setting of the cluster was not recorded"})
"""Of a cluster of which nothing was read, such as in evidence of former versions."""
