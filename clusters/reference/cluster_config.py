"""What the cluster's administrator has configured: feature gates and a few numbers.

Profile ``v1`` reads the KubeVirt CR, ``v1alpha2`` the ConfigMap ``kubevirt-config``.
"""

from __future__ import annotations

from typing import Any

from clusters.reference.apiserver.resources import CONFIG_MAP, KUBEVIRT
from clusters.reference.apiserver.store import Store
from clusters.reference.vmi import EVEN_PARITY

V1 = "v1"
V1ALPHA2 = "v1alpha2"
NAMESPACE = "kubevirt"
CONFIG_MAP_NAME = "kubevirt-config"
CPU_MANAGER_GATE = "CPUManager"
SIDECAR_GATE = "Sidecar"
NUMA_GATE = "NUMA"
ALIGN_GATE = "AlignCPUs"

EMULATED_MACHINES = ("q35*", "pc-q35*")

CONFIG_MAP_NAMESPACES = ("kube-system", NAMESPACE)


class ClusterConfig:
    """The configuration as it is at the moment of asking."""

    def __init__(self, store: Store, profile: str) -> None:
        self._store = store
        self.profile = profile

    def enabled(self, gate: str) -> bool:
        """Whether a feature gate is on."""
        if self.profile == V1ALPHA2:
            return gate in self._config_map_gates()
        developer = self._configuration.get("developerConfiguration") or {}
        if gate in (developer.get("disabledFeatureGates") or ()):
            return False
        return gate in (developer.get("featureGates") or ()) or gate == NUMA_GATE

    @property
    def completes_to_even(self) -> bool:
        """Whether VMIs with an isolated emulator thread are to have an even number of CPUs."""
        return self.enabled(ALIGN_GATE) and any(
            EVEN_PARITY in (kubevirt["metadata"].get("annotations") or {})
            for kubevirt in self._store.list(KUBEVIRT)
        )

    @property
    def cpu_allocation_ratio(self) -> int:
        """vCPUs for each requested CPU of a VMI without dedicated CPUs."""
        developer = self._configuration.get("developerConfiguration") or {}
        return int(developer.get("cpuAllocationRatio") or 10)

    @property
    def hotplug_ratio(self) -> int:
        """How many times the sockets a guest can grow to; 1 when it cannot grow."""
        if not self.updates_live:
            return 1
        live = self._configuration.get("liveUpdateConfiguration") or {}
        return int(live.get("maxHotplugRatio") or 4)

    @property
    def updates_live(self) -> bool:
        """Whether changes of a VirtualMachine reach its VMI (IsVMRolloutStrategyLiveUpdate)."""
        return self.profile != V1ALPHA2 and (
            self._configuration.get("vmRolloutStrategy") != "Stage"
        )

    @property
    def emulated_machines(self) -> list[str]:
        """Patterns of the machine types that VMIs may have (GetEmulatedMachines)."""
        return list(self._of_machines("emulatedMachines") or EMULATED_MACHINES)

    @property
    def machine_type(self) -> str:
        """That of a VMI that names none (GetMachineType)."""
        return str(self._of_machines("machineType") or "q35")

    def _of_machines(self, key: str) -> Any:
        amd64 = (self._configuration.get("architectureConfiguration") or {}).get("amd64") or {}
        return self._configuration.get(key) or amd64.get(key)

    @property
    def logs_serial_console(self) -> bool:
        """Whether guests' consoles are logged unless a VMI says otherwise."""
        options = self._configuration.get("virtualMachineOptions") or {}
        return self.profile == V1 and "disableSerialConsoleLog" not in options

    @property
    def _configuration(self) -> dict[str, Any]:
        for kubevirt in self._store.list(KUBEVIRT):
            found: dict[str, Any] = kubevirt.get("spec", {}).get("configuration") or {}
            return found
        return {}

    def _config_map_gates(self) -> list[str]:
        for namespace in CONFIG_MAP_NAMESPACES:
            found = self._store.find(CONFIG_MAP, CONFIG_MAP_NAME, namespace)
            if found is not None:
                text = (found.get("data") or {}).get("feature-gates") or ""
                return [gate.strip() for gate in text.split(",")]
        return []
