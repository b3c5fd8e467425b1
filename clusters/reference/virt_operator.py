"""virt-operator: what an installation of KubeVirt leaves in the cluster.

The KubeVirt CR (profile ``v1``) or the ConfigMap ``kubevirt-config`` (``v1alpha2``), and the
DaemonSet with one virt-handler pod on each node. Every version string says that this is no
KubeVirt.
"""

from __future__ import annotations

from collections.abc import Sequence

from clusters.reference import images, pod_resources
from clusters.reference.apiserver.resources import (
    CONFIG_MAP,
    DAEMON_SET,
    KUBEVIRT,
    NAMESPACE,
    NODE,
    POD,
)
from clusters.reference.apiserver.store import Change, Object, Store, now
from clusters.reference.cluster_config import CONFIG_MAP_NAME, CONFIG_MAP_NAMESPACES, V1ALPHA2
from clusters.reference.cluster_config import NAMESPACE as INSTALLED_IN
from clusters.reference.conditions import set_condition
from clusters.reference.launcher_pod import SCHEDULABLE
from clusters.reference.namespace_controller import with_defaults
from clusters.reference.reconciling import Health, Tasks, WorkQueue, follow
from clusters.reference.virt_handler import HANDLER_LABEL

VERSION = "v1.9.0+embedded-reference-stack"
"""The release whose labels, selectors and divergences the stack has, and that it is none."""
NAME = "kubevirt"
HANDLER = "virt-handler"
NAMESPACES = ("default", "kube-system", INSTALLED_IN)

_SELECTOR = "daemonset"


class VirtOperator:
    """Installs KubeVirt's objects and keeps a virt-handler pod on every node."""

    def __init__(
        self, store: Store, profile: str, feature_gates: Sequence[str], health: Health
    ) -> None:
        self._store = store
        self._profile = profile
        self._gates = feature_gates
        self._tasks = Tasks(health)
        self._queue: WorkQueue[str] = WorkQueue("virt-operator", self._reconcile, health)

    def install(self) -> None:
        """Creates namespaces, configuration and the DaemonSet."""
        for name in NAMESPACES:
            self._store.create(NAMESPACE, with_defaults({"metadata": {"name": name}}))
        if self._profile == V1ALPHA2:
            self._store.create(CONFIG_MAP, _config_map(self._gates))
        else:
            self._store.create(KUBEVIRT, _kubevirt(self._gates))
        self._store.create(DAEMON_SET, _daemon_set())

    async def start(self) -> None:
        """Begins to watch."""
        kinds = [NODE, POD, KUBEVIRT, DAEMON_SET]
        self._tasks.start("virt-operator", follow(self._store, kinds, self._on_change))

    async def stop(self) -> None:
        """Stops."""
        await self._tasks.stop()
        await self._queue.stop()

    async def wait_deployed(self) -> None:
        """Returns when every node can take VMIs."""
        async for _ in self._store.watch([NODE]):
            if self._all_schedulable():
                return

    def _on_change(self, change: Change) -> None:
        labels = change.object["metadata"].get("labels") or {}
        if change.kind != POD.kind or HANDLER_LABEL.items() <= labels.items():
            self._queue.add(HANDLER)

    async def _reconcile(self, _: str) -> None:
        daemon_set = self._store.find(DAEMON_SET, HANDLER, INSTALLED_IN)
        if daemon_set is None or "deletionTimestamp" in daemon_set["metadata"]:
            return
        nodes = [node["metadata"]["name"] for node in self._store.stored(NODE)]
        pods = [
            pod
            for pod in self._store.list(POD, INSTALLED_IN)
            if HANDLER_LABEL.items() <= (pod["metadata"].get("labels") or {}).items()
        ]
        served = {pod["spec"]["nodeName"] for pod in pods}
        for node in nodes:
            if node not in served:
                self._store.create(POD, pod_resources.with_defaults(_pod(daemon_set, node)))
        ready = sum(pod["status"].get("phase") == "Running" for pod in pods)
        self._store.mutate(
            DAEMON_SET,
            HANDLER,
            INSTALLED_IN,
            lambda stored: stored.update(status=_daemon_set_status(len(nodes), ready)),
        )
        if self._store.find(KUBEVIRT, NAME, INSTALLED_IN) is not None:
            deployed = self._all_schedulable()
            self._store.mutate(
                KUBEVIRT, NAME, INSTALLED_IN, lambda stored: _set_status(stored, deployed=deployed)
            )

    def _all_schedulable(self) -> bool:
        nodes = self._store.list(NODE)
        labels = [node["metadata"].get("labels") or {} for node in nodes]
        return bool(nodes) and all(label.get(SCHEDULABLE) == "true" for label in labels)


def _config_map(gates: Sequence[str]) -> Object:
    return {
        "metadata": {
            "name": CONFIG_MAP_NAME,
            "namespace": CONFIG_MAP_NAMESPACES[0],
            "labels": {"kubevirt.io": ""},
        },
        "data": {"feature-gates": ",".join(gates)},
    }


def _kubevirt(gates: Sequence[str]) -> Object:
    developer = {"featureGates": list(gates)}
    return {
        "metadata": {"name": NAME, "namespace": INSTALLED_IN},
        "spec": {"configuration": {"developerConfiguration": developer}},
        "status": {"phase": "Deploying"},
    }


def _set_status(kubevirt: Object, *, deployed: bool) -> None:
    status = kubevirt.setdefault("status", {})
    status["phase"] = "Deployed" if deployed else "Deploying"
    for name in ("observedKubeVirtVersion", "operatorVersion", "targetKubeVirtVersion"):
        status[name] = VERSION
    status["observedGeneration"] = kubevirt["metadata"]["generation"]
    yes, no = ("True", "False") if deployed else ("False", "True")
    reason = "AllComponentsReady" if deployed else "DeploymentInProgress"
    set_condition(status, "Available", yes, reason=reason)
    set_condition(status, "Progressing", no, reason=reason)
    set_condition(status, "Degraded", "False", reason=reason)


def _daemon_set() -> Object:
    labels = {**HANDLER_LABEL, _SELECTOR: HANDLER}
    return {
        "metadata": {"name": HANDLER, "namespace": INSTALLED_IN, "labels": HANDLER_LABEL},
        "spec": {
            "selector": {"matchLabels": {**HANDLER_LABEL}},
            "template": {"metadata": {"labels": labels}, "spec": _handler_spec()},
        },
        "status": _daemon_set_status(0, 0),
    }


def _daemon_set_status(wanted: int, ready: int) -> Object:
    return {
        "currentNumberScheduled": wanted,
        "desiredNumberScheduled": wanted,
        "numberMisscheduled": 0,
        "numberReady": ready,
        "numberAvailable": ready,
        "updatedNumberScheduled": wanted,
    }


def _pod(daemon_set: Object, node: str) -> Object:
    created: Object = {
        "metadata": {
            "generateName": f"{HANDLER}-",
            "namespace": INSTALLED_IN,
            "labels": {**HANDLER_LABEL, _SELECTOR: HANDLER},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "DaemonSet",
                    "name": HANDLER,
                    "uid": daemon_set["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {"nodeName": node, **_handler_spec()},
    }
    set_condition(created.setdefault("status", {}), "PodScheduled", "True")
    created["status"]["startTime"] = now()
    return created


def _handler_spec() -> Object:
    return {
        "hostPID": True,
        "terminationGracePeriodSeconds": 15,
        "containers": [
            {
                "name": HANDLER,
                "image": images.HANDLER,
                "securityContext": {"privileged": True},
                "resources": {"requests": {"cpu": "10m", "memory": "35Mi"}},
            }
        ],
    }
