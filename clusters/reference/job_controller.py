"""Runs the pods of Jobs, one at a time.

kubernetes pkg/controller/job. Parallelism, deadlines, pauses between tries and what becomes of a
Job when it is over are not known; a CronJob is stored, and makes no Jobs. Pods of a Job that was
deleted go at once: upstream leaves that to the garbage collector.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from clusters.reference import events
from clusters.reference.apiserver.resources import JOB, NAMESPACE, POD, ResourceType
from clusters.reference.apiserver.store import Change, Object, Store, now
from clusters.reference.apiserver.strategies import default_grace
from clusters.reference.conditions import set_condition
from clusters.reference.kubelet.workload import Workloads
from clusters.reference.reconciling import Health, Tasks, WorkQueue, follow

COMPONENT = "job-controller"
OWNER = "batch.kubernetes.io/controller-uid"
TRIES_AGAIN = 6
"""How often a pod that failed is followed by another one, unless the Job says."""
NO_PROGRAMS = (
    "the nodes of this cluster exist in memory and run no programs: "
    "`up --cluster embedded --images FILE` makes nodes that do"
)
HOPELESS = "Job has reached the specified backoff limit"
Key = tuple[str, str]
Admit = Callable[[ResourceType, Object, Object | None], Object]


class JobController:
    """Reconciles every Job with its pods."""

    def __init__(self, store: Store, admit: Admit, workloads: Workloads, health: Health) -> None:
        self._store = store
        self._admit = admit
        self._workloads = workloads
        self._tasks = Tasks(health)
        self._queue: WorkQueue[Key] = WorkQueue("jobs", self._reconcile, health)

    async def start(self) -> None:
        """Begins to watch."""
        self._tasks.start("jobs", follow(self._store, [JOB, POD], self._on_change))

    async def stop(self) -> None:
        """Stops."""
        await self._tasks.stop()
        await self._queue.stop()

    def _on_change(self, change: Change) -> None:
        metadata = change.object["metadata"]
        namespace = metadata["namespace"]
        if change.kind != JOB.kind:
            for owner in metadata.get("ownerReferences") or ():
                if owner["kind"] == JOB.kind:
                    self._queue.add((namespace, owner["name"]))
        elif change.type == "DELETED":
            for pod in self._pods(change.object):
                grace = default_grace(POD, pod, None)
                self._store.delete(POD, pod["metadata"]["name"], namespace, grace_seconds=grace)
        else:
            self._queue.add((namespace, metadata["name"]))

    async def _reconcile(self, key: Key) -> None:
        namespace, name = key
        job = self._store.find(JOB, name, namespace)
        if job is None or _is_over(job) or job["spec"].get("suspend"):
            return
        home = self._store.find(NAMESPACE, namespace)
        if home is None or any("deletionTimestamp" in each["metadata"] for each in (job, home)):
            return
        if self._workloads.images is None:
            events.record(
                self._store, job, COMPONENT, "FailedCreate", NO_PROGRAMS, type_=events.WARNING
            )
            return
        pods = self._pods(job)
        phases = [pod["status"].get("phase") for pod in pods]
        succeeded, failed = phases.count("Succeeded"), phases.count("Failed")
        active = len(pods) - succeeded - failed
        complete = succeeded >= job["spec"].get("completions", 1)
        hopeless = failed > job["spec"].get("backoffLimit", TRIES_AGAIN)
        if not (active or complete or hopeless):
            self._create_pod(job)
            active = 1

        def change(stored: Object) -> None:
            # Upstream's API server writes it when the Job is created; kubectl selects pods by it.
            selector = {"matchLabels": {OWNER: stored["metadata"]["uid"]}}
            stored["spec"].setdefault("selector", selector)
            status = stored.setdefault("status", {})
            status.setdefault("startTime", now())
            status.update(active=active, succeeded=succeeded, failed=failed)
            if complete:
                status["completionTime"] = now()
                set_condition(status, "Complete", "True", reason="CompletionsReached")
            elif hopeless:
                set_condition(
                    status, "Failed", "True", reason="BackoffLimitExceeded", message=HOPELESS
                )

        self._store.mutate(JOB, name, namespace, change)
        if complete:
            events.record(self._store, job, COMPONENT, "Completed", "Job completed")
        elif hopeless:
            reason = "BackoffLimitExceeded"
            events.record(self._store, job, COMPONENT, reason, HOPELESS, type_=events.WARNING)

    def _create_pod(self, job: Object) -> None:
        metadata, template = job["metadata"], copy.deepcopy(job["spec"]["template"])
        reference = {
            "apiVersion": job["apiVersion"],
            "kind": job["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        own = template.get("metadata") or {}
        labels = {
            **(own.get("labels") or {}),
            "batch.kubernetes.io/job-name": metadata["name"],
            OWNER: metadata["uid"],
            "job-name": metadata["name"],
        }
        pod = {
            "apiVersion": POD.api_version,
            "kind": POD.kind,
            "metadata": {
                **own,
                "generateName": f"{metadata['name']}-",
                "namespace": metadata["namespace"],
                "labels": labels,
                "ownerReferences": [reference],
            },
            "spec": template["spec"],
        }
        pod["metadata"].pop("creationTimestamp", None)
        created = self._store.create(POD, self._admit(POD, pod, None))
        message = f"Created pod: {created['metadata']['name']}"
        events.record(self._store, job, COMPONENT, "SuccessfulCreate", message)

    def _pods(self, job: Object) -> list[Object]:
        uid = job["metadata"]["uid"]

        def is_own(pod: Object) -> bool:
            return any(
                owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or ()
            )

        return self._store.list(POD, job["metadata"]["namespace"], where=is_own)


def _is_over(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(each["type"] in ("Complete", "Failed") for each in conditions)
