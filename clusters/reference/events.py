"""Events on objects, as ``kubectl describe`` shows them."""

from __future__ import annotations

import hashlib

from clusters.reference.apiserver.resources import EVENT
from clusters.reference.apiserver.store import Object, Store, now

NORMAL = "Normal"
WARNING = "Warning"


def record(
    store: Store, about: Object, component: str, reason: str, message: str, *, type_: str = NORMAL
) -> None:
    """Writes an event, or counts up the same one that was there before."""
    metadata = about["metadata"]
    namespace = metadata.get("namespace") or "default"
    digest = hashlib.sha256(
        "\0".join((component, reason, message, metadata["uid"])).encode()
    ).hexdigest()[:16]
    name = f"{metadata['name']}.{digest}"
    if store.find(EVENT, name, namespace) is not None:
        store.mutate(EVENT, name, namespace, _count_up)
        return
    moment = now()
    store.create(
        EVENT,
        {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "type": type_,
            "count": 1,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
        },
    )


def _count_up(event: Object) -> None:
    event["count"] += 1
    event["lastTimestamp"] = now()
