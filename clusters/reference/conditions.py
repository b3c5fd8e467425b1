"""``status.conditions``, as every Kubernetes object keeps them."""

from __future__ import annotations

from clusters.reference.apiserver.store import Object, now


def set_condition(
    status: Object, type_: str, value: str, *, reason: str = "", message: str = ""
) -> None:
    """Sets a condition; its transition time moves only when its value changes."""
    conditions = status.setdefault("conditions", [])
    old = get_condition(status, type_)
    moment = old["lastTransitionTime"] if old and old["status"] == value else now()
    new = {"type": type_, "status": value, "lastProbeTime": None, "lastTransitionTime": moment}
    if reason:
        new["reason"] = reason
    if message:
        new["message"] = message
    if old:
        conditions[conditions.index(old)] = new
    else:
        conditions.append(new)


def drop_condition(status: Object, type_: str) -> None:
    """Removes a condition; a missing one is fine."""
    status["conditions"] = [c for c in status.get("conditions", []) if c["type"] != type_]


def get_condition(status: Object, type_: str) -> Object | None:
    """The condition of a type."""
    return next((c for c in status.get("conditions", []) if c["type"] == type_), None)
