"""Reads the setting of a cluster, before its first case: releases, gates, CR, nodes.

What is kept is what `conformance.parsing.setting` reads, as it came: an installation's other
annotations and labels are nobody's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clusters.kit.api import Api, ApiError, Json
from conformance.collecting import api as paths
from conformance.model.vocabulary import EVEN_PARITY

GROUP = "/apis/kubevirt.io"


def read_setting(api: Api) -> Json:
    """The setting in its recorded form; what cannot be read is named under ``unread``.

    Returns:
        ``kubernetes``: the answer of /version; ``kubevirt``: the CR's name, configuration and
        versions; ``served``: the API group; ``nodes``: ``.status.nodeInfo`` by node; ``unread``:
        reasons by part.
    """
    unread: dict[str, str] = {}

    def read(part: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except ApiError as error:
            unread[part] = str(error)
        except (KeyError, TypeError, ValueError) as error:
            unread[part] = f"the API's answer is not what was expected: {error!r}"
        return None

    found = {
        "kubernetes": read("kubernetes", lambda: api.get("/version")),
        "kubevirt": read("kubevirt", lambda: _kubevirt(api)),
        "served": read("served", lambda: api.find(GROUP)),
        "nodes": read("nodes", lambda: _nodes(api)),
    }
    if found["kubevirt"] is None:
        unread.setdefault("kubevirt", "there is not exactly one KubeVirt CR")
    return {**found, "unread": unread}


def _kubevirt(api: Api) -> Json | None:
    answer = api.find(paths.KUBEVIRTS)
    items = [] if answer is None else answer["items"]
    if len(items) != 1:
        return None
    (cr,) = items
    meta, status = cr["metadata"], cr.get("status") or {}
    annotations = meta.get("annotations") or {}
    return {
        "metadata": {
            "namespace": meta["namespace"],
            "name": meta["name"],
            "annotations": {key: annotations[key] for key in annotations.keys() & {EVEN_PARITY}},
            "managedFields": [
                {"time": each["time"]}
                for each in meta.get("managedFields") or ()
                if each.get("time") and not each.get("subresource")
            ],
        },
        "spec": {"configuration": (cr.get("spec") or {}).get("configuration") or {}},
        "status": {
            key: status[key]
            for key in ("observedKubeVirtVersion", "targetKubeVirtVersion", "operatorVersion")
            if key in status
        },
    }


def _nodes(api: Api) -> Json:
    return {
        node["metadata"]["name"]: (node.get("status") or {}).get("nodeInfo") or {}
        for node in api.items(paths.core("nodes"))
    }
