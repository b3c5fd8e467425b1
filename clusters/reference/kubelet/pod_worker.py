"""Runs one pod on its node, from admission to the last trace of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from clusters.reference import events, images, pod_resources
from clusters.reference.apiserver.resources import POD
from clusters.reference.apiserver.store import NotFoundError, Object, Store, now
from clusters.reference.faults import Faults
from clusters.reference.kubelet import cgroups, workload
from clusters.reference.kubelet.admission import AdmissionError
from clusters.reference.kubelet.container_manager import ContainerManager
from clusters.reference.kubelet.pod_lifecycle import (
    ContainerRecord,
    Finish,
    Role,
    Start,
    next_step,
    phase_of,
    records_of,
)
from clusters.reference.kubelet.pod_status import Addresses, pod_status
from clusters.reference.kubelet.workload import Workloads
from clusters.reference.machine import ContainerSpec, ContainerState, Machine, NodeError, Program
from clusters.reference.reconciling import Health, Tasks

COMPONENT = "kubelet"
RUNTIME = "containerd://"


class PodWorker:
    """One pod: its containers, its cgroup, its status."""

    def __init__(
        self,
        pod: Object,
        *,
        store: Store,
        machine: Machine,
        managers: ContainerManager,
        addresses: Addresses,
        workloads: Workloads,
        faults: Faults,
        health: Health,
    ) -> None:
        metadata = pod["metadata"]
        self.uid: str = metadata["uid"]
        self.name: str = metadata["name"]
        self.namespace: str = metadata.get("namespace", "")
        self._pod = pod
        self._store = store
        self._machine = machine
        self._managers = managers
        self._cpus = managers.cpus
        self._addresses = addresses
        self._workloads = workloads
        self._faults = faults
        self._records = records_of(pod["spec"])
        self._tasks = Tasks(health)
        self._changed = asyncio.Event()
        self._leaving = False

    def wake(self) -> None:
        """Something about the pod has changed."""
        self._changed.set()

    def leave(self) -> None:
        """The kubelet stops: finish the step in progress, leave the containers running."""
        self._leaving = True
        self.wake()

    def container_id(self, container: str) -> str:
        """Id of the container, running or last. Raises KeyError."""
        record = self._record(container)
        if not record.id:
            raise KeyError(container)
        return record.id

    async def log(self, container: str) -> str:
        """What the container has printed. Raises KeyError."""
        record = self._record(container)
        try:
            return await self._machine.container_log(self.container_id(container))
        except NodeError:
            return record.log

    async def run(self, alive: dict[str, ContainerState]) -> None:
        """Works until the pod is gone or the kubelet stops.

        Args:
            alive: the containers that the runtime had when the kubelet started.
        """
        try:
            if self._adopt(alive):
                await self._release_if_over()
            else:
                await self._managers.admit(self._pod)
                await self._make_cgroup()
            while not self._leaving:
                self._changed.clear()
                pod = self._current()
                if pod is None or "deletionTimestamp" in pod["metadata"]:
                    await self._terminate(pod)
                    return
                self._pod = pod
                await self._advance()
        except AdmissionError as error:
            await self._reject(error)
        finally:
            await self._tasks.stop()

    async def _advance(self) -> None:
        """Does the next step, or waits for a reason to look again."""
        if self._pod["status"].get("phase") in ("Succeeded", "Failed"):
            await self._changed.wait()
            return
        time = asyncio.get_running_loop().time()
        step = next_step(self._records, self._pod["spec"]["restartPolicy"], time)
        if isinstance(step, Start):
            await self._start(step.record)
        elif isinstance(step, Finish):
            await self._stop(self._records, grace_seconds=2)
            await self._remove_cgroup()
            self._publish(step.phase)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), step.seconds)

    async def _start(self, record: ContainerRecord) -> None:
        program = images.program_of(record.spec)
        if program is None and not await self._pulled(record):
            return
        if record.id:
            await self._discard(record)
            if self._faults.assignment_lost_with_container:
                await self._managers.release(self.uid)
            record.restarts += 1
        container_id = uuid.uuid4().hex + uuid.uuid4().hex
        requests = pod_resources.requests_of(record.spec)
        limits = pod_resources.limits_of(record.spec)
        qos = self._pod["status"]["qosClass"]
        cpu = pod_resources.CPU
        async with self._cpus.starting(self.uid, record.name, container_id) as cpus:
            exclusive = self._cpus.exclusive(self.uid, record.name) is not None
            quota = cgroups.cpu_max(limits.get(cpu, 0), exclusive=self._unlimited(exclusive))
            spec = ContainerSpec(
                id=container_id,
                name=record.name,
                pod_uid=self.uid,
                cgroup=cgroups.container_cgroup(self.uid, qos, container_id),
                program=program or Program.IMAGE,
                cpuset=cpus,
                mems=self._managers.memory.nodes_of(self.uid, record.name),
                cpu_weight=cgroups.cpu_weight(requests.get(cpu, 0)),
                cpu_max=quota,
                memory_max=limits.get(pod_resources.MEMORY),
                command=(*record.spec.get("command", ()), *record.spec.get("args", ())),
                environment={e["name"]: e.get("value", "") for e in record.spec.get("env") or ()},
            )
            record.id, record.started, record.exit_code = container_id, now(), None
            try:
                spec = spec if program else await self._of_image(spec, record)
                await self._machine.start_container(spec)
            except NodeError as error:
                self._cannot_start(record, error)
                return
            record.running = True
        self._event("Started", f"Started container {record.name}")
        self._watch(record)
        self._publish(phase_of(self._records))

    async def _pulled(self, record: ContainerRecord) -> bool:
        """Whether its image is on the node, brought there now or before."""
        image = self._workloads.image_of(record.spec)
        if image is None:
            self._cannot_pull(record, "the reference stack does not know this image")
            return False
        try:
            await self._machine.pull(image)
        except NodeError as error:
            self._cannot_pull(record, str(error))
            return False
        self._event("Pulled", f'Successfully pulled image "{record.spec["image"]}"')
        return True

    async def _of_image(self, spec: ContainerSpec, record: ContainerRecord) -> ContainerSpec:
        """The container as its image and its pod have it. Raises NodeError."""
        image, api = self._workloads.image_of(record.spec), self._workloads.api
        assert image is not None, "a container without an image here is not started"
        assert api is not None, "the API is served before a pod is run"
        spec = replace(
            spec,
            command=workload.command(record.spec, image),
            environment=workload.environment(record.spec, image, api),
            inside=workload.inside(self._pod, record.spec, image),
        )
        await self._machine.write(workload.files(self._pod, api))
        return spec

    def _watch(self, record: ContainerRecord) -> None:
        self._tasks.start(f"container {self.name}/{record.name}", self._await_end(record))

    async def _await_end(self, record: ContainerRecord) -> None:
        container_id = record.id
        try:
            exit_code = (await self._machine.wait_container(container_id)).exit_code
        except NodeError:
            exit_code = None
        if record.id == container_id and record.running:
            self._mark_ended(record, exit_code)
            self._publish(phase_of(self._records))

    def _mark_ended(self, record: ContainerRecord, exit_code: int | None) -> None:
        record.running = False
        record.exit_code = 137 if exit_code is None else exit_code
        record.finished = now()
        record.ended_at = asyncio.get_running_loop().time()
        self._cpus.forget(record.id)
        self.wake()

    def _cannot_start(self, record: ContainerRecord, error: NodeError) -> None:
        self._event("Failed", f"Error: failed to start container: {error}", type_=events.WARNING)
        self._mark_ended(record, 128)
        self._publish(phase_of(self._records))

    def _cannot_pull(self, record: ContainerRecord, why: str) -> None:
        image = record.spec.get("image", "")
        record.problem = "ErrImagePull"
        message = f'Failed to pull image "{image}": {why}'
        self._publish(phase_of(self._records))
        self._event("Failed", message, type_=events.WARNING)
        record.problem = "ImagePullBackOff"
        self._event("BackOff", f'Back-off pulling image "{image}"')
        self._publish(phase_of(self._records))

    async def _terminate(self, pod: Object | None) -> None:
        """Stops everything, gives the CPUs back and lets the pod object go."""
        grace = 0.0
        if pod is not None:
            grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        mains = [record for record in self._records if record.role is Role.MAIN]
        await self._stop(mains, grace_seconds=grace)
        await self._stop(self._records, grace_seconds=0)
        await self._remove_cgroup()
        if any(self._workloads.image_of(record.spec) for record in self._records):
            await self._machine.remove([workload.directory_of(self.uid)])
        if pod is not None:
            failed = any(record.exit_code for record in mains)
            over = pod["status"].get("phase") in ("Succeeded", "Failed")
            if not over:
                self._publish("Failed" if failed else "Succeeded")
            self._forget_object()

    def _forget_object(self) -> None:
        current = self._current()
        if current is not None:
            self._store.delete(POD, self.name, self.namespace, grace_seconds=0)

    async def _stop(self, records: Iterable[ContainerRecord], *, grace_seconds: float) -> None:
        stopping = [record for record in records if record.id]
        await asyncio.gather(
            *(self._discard(record, grace_seconds=grace_seconds) for record in stopping)
        )

    async def _discard(self, record: ContainerRecord, *, grace_seconds: float = 0) -> None:
        """Stops the container if it still runs and removes its remains."""
        was_running = record.running
        with suppress(NodeError):
            record.log = await self._machine.container_log(record.id)
        await self._machine.stop_container(record.id, grace_seconds=grace_seconds)
        if was_running and record.running:
            self._mark_ended(record, None)

    async def _make_cgroup(self) -> None:
        directory = cgroups.MOUNT + cgroups.pod_cgroup(self.uid, self._pod["status"]["qosClass"])
        await self._machine.make_directories([directory])
        unlimited = self._unlimited(self._cpus.owns_cpus(self.uid))
        await self._machine.write(cgroups.pod_settings(self._pod, exclusive=unlimited))

    def _unlimited(self, exclusive: bool) -> bool:
        """Whether the CFS quota is lifted: it is for exclusive CPUs."""
        return exclusive and not self._faults.quota_kept

    async def _remove_cgroup(self) -> None:
        """Removes the pod's cgroup; only then may others have its CPUs."""
        directory = cgroups.MOUNT + cgroups.pod_cgroup(self.uid, self._pod["status"]["qosClass"])
        await self._machine.remove([directory])
        await self._managers.release(self.uid)

    async def _reject(self, error: AdmissionError) -> None:
        def change(pod: Object) -> None:
            pod["status"].update(
                phase="Failed", reason=error.reason, message=f"Pod was rejected: {error}"
            )

        self._event(error.reason, str(error), type_=events.WARNING)
        with suppress(NotFoundError):
            self._store.mutate(POD, self.name, self.namespace, change)
        while not self._leaving:
            self._changed.clear()
            pod = self._current()
            if pod is None:
                return
            if "deletionTimestamp" in pod["metadata"]:
                self._forget_object()
                return
            await self._changed.wait()

    def _adopt(self, alive: dict[str, ContainerState]) -> bool:
        """Takes over the containers of a pod that ran before this kubelet did."""
        status = self._pod["status"]
        known = {entry["name"]: entry for entry in _begun(self._pod)}
        for record in self._records:
            entry = known.get(record.name)
            if entry is None:
                continue
            record.id = entry["containerID"].removeprefix(RUNTIME)
            record.restarts = entry.get("restartCount", 0)
            record.started = next(iter(entry["state"].values())).get("startedAt", "")
            state = alive.get(record.id)
            if state is not None and state.exit_code is None:
                record.running = True
                self._cpus.adopt(self.uid, record.name, record.id)
                self._watch(record)
            else:
                ended = (entry["state"].get("terminated") or {}).get("exitCode")
                self._mark_ended(record, ended if state is None else state.exit_code)
        return bool(known) or status.get("phase") in ("Succeeded", "Failed")

    async def _release_if_over(self) -> None:
        if self._pod["status"].get("phase") in ("Succeeded", "Failed"):
            await self._managers.release(self.uid)

    def _current(self) -> Object | None:
        pod = self._store.find(POD, self.name, self.namespace)
        return pod if pod is not None and pod["metadata"]["uid"] == self.uid else None

    def _record(self, container: str) -> ContainerRecord:
        for record in self._records:
            if record.name == container:
                return record
        raise KeyError(container)

    def _publish(self, phase: str) -> None:
        current = self._current()
        if current is None:
            return
        current["status"] = pod_status(
            current["status"], self._records, phase, self._addresses, RUNTIME
        )
        self._pod = self._store.update(POD, current)

    def _event(self, reason: str, message: str, *, type_: str = events.NORMAL) -> None:
        events.record(self._store, self._pod, COMPONENT, reason, message, type_=type_)


def container_ids(pod: Object) -> dict[str, str]:
    """Runtime ids of the pod's containers that ever ran, by name."""
    return {e["name"]: e["containerID"].removeprefix(RUNTIME) for e in _begun(pod)}


def _begun(pod: Object) -> list[Object]:
    """The statuses of the containers that ever ran."""
    return [
        entry
        for key in ("initContainerStatuses", "containerStatuses")
        for entry in pod.get("status", {}).get(key) or ()
        if entry.get("containerID")
    ]
