"""Where things are in the API, and a client that is as patient as a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clusters.kit.api import Api, Appended
from conformance.matrix import kinds
from conformance.settling import persistently

KUBEVIRTS = "/apis/kubevirt.io/v1/kubevirts"
"""Every KubeVirt CR of the cluster."""


def connect(kubeconfig: str, *, faults: Appended | None = None) -> Api:
    """A client whose requests are sent again as `settling.persistently` says. Raises ApiError."""
    return Api(kubeconfig, retry=persistently, faults=faults)


def core(resource: str, namespace: str = "", name: str = "") -> str:
    """Path of a core resource."""
    parts = ("/api/v1", namespace and f"namespaces/{namespace}", resource, name)
    return "/".join(part for part in parts if part)


def of_manifest(manifest: Mapping[str, Any], namespace: str) -> str:
    """Path of the collection that an object of `kinds` is created in."""
    version = str(manifest.get("apiVersion", "kubevirt.io/v1"))
    return kinds.collection(str(manifest.get("kind", kinds.VMI)), version, namespace)


def migrations(version: str, namespace: str, name: str = "") -> str:
    """Path of the live migrations of a namespace, or of one of them."""
    path = f"/apis/kubevirt.io/{version}/namespaces/{namespace}/virtualmachineinstancemigrations"
    return f"{path}/{name}" if name else path


def vmis(version: str, namespace: str, name: str = "") -> str:
    """Path of the VMIs of a namespace, or of one of them, in an API version of KubeVirt."""
    path = f"/apis/kubevirt.io/{version}/namespaces/{namespace}/virtualmachineinstances"
    return f"{path}/{name}" if name else path
