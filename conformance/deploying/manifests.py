"""What runs this tool in a cluster: rights, a ConfigMap, a Job or a CronJob."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

Json = dict[str, Any]
NAMESPACE = "cpu-conformance"
"""What the kustomize bases call it."""
USER = 65532
"""As whom the image runs."""
REPORTS = "/reports"
HOME = "/tmp"
END_SECONDS = 600
"""For a run that is stopped, to judge what it has and to clean up."""


@dataclass(frozen=True)
class Deployment:
    """What is asked for.

    Attributes:
        command: ``run`` or ``audit``.
        bases: names of kustomize bases below ``clusters/existing/rbac``.
        options: of the command, beside where its results go.
        image: of this tool.
        namespace: of the Job.
        there: whether the namespace is somebody else's: it is not made, and a run makes
            everything in it.
        parameters: of the ConfigMap, by name.
        schedule: of a CronJob, as cron writes it; empty for a Job.
        claim: of a volume for the reports; empty for one that goes with the pod.
    """

    command: str
    bases: Sequence[str]
    image: str
    namespace: str = NAMESPACE
    there: bool = False
    options: Sequence[str] = ()
    parameters: Mapping[str, str] | None = None
    schedule: str = ""
    claim: str = ""

    @property
    def name(self) -> str:
        """Of Job, ConfigMap and roles."""
        return f"cpu-conformance-{self.command}"


def manifests(wanted: Deployment) -> Iterator[Json]:
    """The objects, in the order in which they are applied. Raises ValueError."""
    found = [each for name in wanted.bases for each in base(name)]
    own = next(each for each in found if each["kind"] == "ServiceAccount")["metadata"]["name"]
    for each in found:
        if not (wanted.there and each["kind"] == "Namespace"):
            yield _moved(each, wanted.namespace)
    yield from _results(wanted, own)
    yield _scheduled(wanted, own) if wanted.schedule else _job(wanted, own)


def base(name: str) -> list[Json]:
    """The objects of a kustomize base and of those that it builds on, each once."""
    return list(_read(resources.files("clusters.existing").joinpath("rbac", name)))


def _read(directory: Traversable) -> Iterator[Json]:
    import yaml

    listed = yaml.safe_load(directory.joinpath("kustomization.yaml").read_text())["resources"]
    for each in listed:
        if each.startswith("../"):
            yield from base(each.removeprefix("../"))
        else:
            yield from yaml.safe_load_all(directory.joinpath(each).read_text())


def _moved(obj: Json, namespace: str) -> Json:
    """The object of a base, with another namespace in the place of its own.

    Bindings that are not in that namespace get its name, so that two namespaces do not take the
    rights from each other.
    """
    metadata = dict(obj["metadata"])
    if obj["kind"] == "Namespace":
        metadata["name"] = namespace
    elif metadata.get("namespace") == NAMESPACE:
        metadata["namespace"] = namespace
    elif "subjects" in obj and namespace != NAMESPACE:
        metadata["name"] += f"-{namespace}"
    moved = {**obj, "metadata": metadata}
    if "subjects" in obj:
        moved["subjects"] = [{**each, "namespace": namespace} for each in obj["subjects"]]
    return moved


def _results(wanted: Deployment, account: str) -> Iterator[Json]:
    """The ConfigMap, and the right to read and write it and no other."""
    parameters = {f"spec.param.{key}": value for key, value in (wanted.parameters or {}).items()}
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(wanted),
        "data": parameters,
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(wanted, "-results"),
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [wanted.name],
                "verbs": ["get", "patch"],
            }
        ],
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(wanted, "-results"),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": f"{wanted.name}-results",
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": wanted.namespace}],
    }


def _metadata(wanted: Deployment, end: str = "") -> Json:
    return {"name": f"{wanted.name}{end}", "namespace": wanted.namespace}


def _job(wanted: Deployment, account: str) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(wanted),
        "spec": _job_spec(wanted, account),
    }


def _scheduled(wanted: Deployment, account: str) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(wanted),
        "spec": {
            "schedule": wanted.schedule,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": _job_spec(wanted, account)},
        },
    }


def _job_spec(wanted: Deployment, account: str) -> Json:
    place = ["--namespace", wanted.namespace] if wanted.there else []
    kind = ["--cluster", "existing", *place] if wanted.command == "run" else []
    claim = {"persistentVolumeClaim": {"claimName": wanted.claim}}
    container = {
        "name": "conform",
        "image": wanted.image,
        # As VMIs have it: an image that was loaded into the nodes is in no registry.
        "imagePullPolicy": "IfNotPresent",
        "args": [
            *(wanted.command, *kind, "--results-configmap", f"{wanted.namespace}/{wanted.name}"),
            *("--report-dir", f"{REPORTS}/{wanted.command}", *wanted.options),
        ],
        # No limit of CPUs: a pod whose requests equal its limits would take exclusive ones.
        "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "reports", "mountPath": REPORTS},
            {"name": "scratch", "mountPath": HOME},
        ],
    }
    return {
        # What a verdict says once more is no better.
        "backoffLimit": 0,
        "template": {
            "spec": {
                "serviceAccountName": account,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": END_SECONDS,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "fsGroup": USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": [
                    {"name": "reports", **(claim if wanted.claim else {"emptyDir": {}})},
                    {"name": "scratch", "emptyDir": {}},
                ],
            },
        },
    }
