"""virt-launcher: starts the domain of one VMI in its compute container and watches it."""

from __future__ import annotations

import asyncio
import shlex

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.reference import quantity, vmi
from clusters.reference.apiserver.store import Object
from clusters.reference.faults import Faults
from clusters.reference.kubelet import cgroups
from clusters.reference.launcher.domain_xml import GuestSettings, domain_name, guest_files, render
from clusters.reference.launcher.guest_numa import Cell, cells
from clusters.reference.launcher.pinning import Pinning, PinningRequest, pin
from clusters.reference.launcher_pod import COMPUTE
from clusters.reference.machine import Machine, NodeError
from clusters.reference.node_topology import NodeTopology

DISK_SIZE = "4M"
SILENCE_SECONDS = 60.0
"""After which a guest is not slow but hangs: half of what the harness gives it."""


class Launcher:
    """The launcher of one VMI, in the compute container of its pod."""

    def __init__(
        self,
        machine: Machine,
        topology: NodeTopology,
        pod: Object,
        settings: GuestSettings,
        faults: Faults,
    ) -> None:
        self._machine = machine
        self._topology = topology
        self._settings = settings
        self._faults = faults
        self.container_id = container_id(pod, COMPUTE)
        uid, qos = pod["metadata"]["uid"], pod["status"]["qosClass"]
        self.cgroup = cgroups.container_cgroup(uid, qos, self.container_id)
        self.emulator_cpus: CpuSet = frozenset()
        self._cpus: CpuSet = frozenset()
        self.domain = ""

    async def start(self, instance: Object) -> None:
        """Pins and creates the domain.

        Raises PinningError when the container's CPUs do not suffice, NodeError when
        libvirt refuses or the container has ended.
        """
        xml = self._xml(instance, await self.prepare(instance))
        await self._machine.create_domain(self.container_id, xml)
        self.domain = domain_name(instance)

    async def prepare(self, instance: Object) -> CpuSet:
        """Makes ready for the guest; returns the CPUs that it may have, none where it shares.

        Raises NodeError when the container has ended.
        """
        await self._machine.wait_libvirt(self.container_id)
        self._cpus = await self._own_cpus() if vmi.is_dedicated(instance) else frozenset()
        await self._prepare(instance)
        return self._cpus

    async def receive(self, instance: Object) -> None:
        """Makes the domain of a guest that migrates here, after `prepare`.

        Raises PinningError, NodeError likewise.
        """
        pinned = not self._faults.migrated_domain_unpinned
        xml = self._xml(instance, self._cpus, pinned=pinned)
        await self._machine.receive_domain(self.container_id, xml)
        self.domain = domain_name(instance)

    def _xml(self, instance: Object, cpus: CpuSet, *, pinned: bool = True) -> str:
        pinning = None
        if vmi.is_dedicated(instance) and pinned:
            request = self._request(instance, cpus)
            pinning = pin(request, self._topology.numa_cells)
            pinning = _spoilt(pinning, request, self._faults)
            self.emulator_cpus = frozenset(pinning.emulator)
        numa = self._numa(instance, pinning) if pinning else ()
        return render(instance, pinning, self._settings, self._faults, numa)

    async def wait_end(self) -> str:
        """Returns the reason when the domain has ended."""
        return await self._machine.wait_domain_end(self.container_id, self.domain)

    async def rouse(self) -> bool:
        """Resets a guest that has said nothing for too long, once; returns whether it did.

        A kernel patches its own code while it boots, and where CPUs are emulated it may hang
        for that: QEMU before 8.1 may go on with what it translated before.
        """
        await asyncio.sleep(SILENCE_SECONDS)
        if await self._machine.console_text(self.container_id, self.domain):
            return False
        await self._machine.reset_domain(self.container_id, self.domain)
        return True

    async def stop(self) -> None:
        """Ends the domain; one that has ended is fine."""
        await self._machine.destroy_domain(self.container_id, self.domain)

    async def _own_cpus(self) -> CpuSet:
        path = f"{cgroups.MOUNT}{self.cgroup}/cpuset.cpus.effective"
        files = (await self._machine.read([path])).files
        if path not in files:
            raise NodeError(f"failed to read pod cpuset: there is no {path}")
        return cpuset.parse(files[path])

    async def _prepare(self, instance: Object) -> None:
        """Makes the files that QEMU opens, in one round trip."""
        files = guest_files(instance)
        script = f"mkdir -p {shlex.join(files.directories)}"
        if files.disks:
            script += f" && truncate -s {DISK_SIZE} {shlex.join(files.disks)}"
        result = await self._machine.execute_to_end(self.container_id, ["sh", "-c", script])
        if result.returncode:
            raise NodeError(f"cannot prepare the guest's files: {result.stderr.strip()}")

    @staticmethod
    def _request(instance: Object, cpus: CpuSet) -> PinningRequest:
        sockets, cores, threads = vmi.topology(instance)
        uses = vmi.uses_iothreads(instance)
        return PinningRequest(
            cpus=sorted(cpus),
            cores=sockets * cores,
            threads=threads,
            isolate_emulator=vmi.isolates_emulator(instance),
            even_parity=vmi.completes_to_even(instance),
            iothreads=vmi.iothread_counts(instance)[0] if uses else None,
            supplemental_iothreads=vmi.supplemental_iothreads(instance),
            strict_numa=vmi.maps_numa(instance),
        )

    def _numa(self, instance: Object, pinning: Pinning) -> tuple[Cell, ...]:
        if not vmi.maps_numa(instance):
            return ()
        memory, page = vmi.domain_of(instance)["memory"].get("guest"), vmi.page_size(instance)
        return cells(
            pinning,
            self._topology.numa_nodes,
            quantity.value(memory),
            quantity.value(page),
            self._faults,
        )


def _spoilt(pinning: Pinning, request: PinningRequest, faults: Faults) -> Pinning:
    """The pinning as the faults want it."""
    vcpus, iothreads = dict(pinning.vcpus), dict(pinning.iothreads)
    if faults.vcpu_pinned_to_neighbour and len(vcpus) > 1:
        vcpus[0] = vcpus[1]
    if faults.iothreads_on_vcpus and request.isolate_emulator:
        iothreads = dict.fromkeys(iothreads, tuple(vcpus.values()))
    pooled = bool(request.supplemental_iothreads)
    if faults.pool_on_vcpus and pooled:
        iothreads = dict.fromkeys(iothreads, (vcpus[0],))
    if faults.iothreads_on_first_cpu and not (pooled or request.isolate_emulator):
        iothreads = dict.fromkeys(iothreads, (vcpus[0],))
    return Pinning(
        vcpus={} if faults.vcpus_not_pinned else vcpus,
        emulator=() if faults.emulator_not_isolated else pinning.emulator,
        iothreads=iothreads,
    )


def container_id(pod: Object, name: str) -> str:
    """Runtime id of a container of a pod. Raises NodeError when it has none yet."""
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] == name and status.get("containerID"):
            return str(status["containerID"]).rpartition("//")[2]
    raise NodeError(f"container {name} of pod {pod['metadata']['name']} has not started")
