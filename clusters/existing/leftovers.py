"""What runs that have died left on a cluster: found, told in plain sentences, removed.

A run is dead when its Lease was not renewed for longer than that says, by the API server's clock. A
run that lives, and a namespace that no run has marked, are never touched. Before anything is
removed the Lease is taken over, so that of two who sweep one does, and a run that was only
suspended knows that it was taken for dead.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from clusters.existing.claims import (
    KINDS,
    LEASES,
    NAME,
    NAMESPACES,
    Claim,
    Sign,
    lease_path,
    lost_by,
    of_lease,
    of_namespace,
    own_namespace,
    written,
)
from clusters.kit import changes
from clusters.kit.api import Api, ApiError, Json
from clusters.kit.changes import CONFLICT
from clusters.kit.marks import RUN, run_of, whoever_runs_this

REMOVAL_SECONDS = 90.0
"""How long what is being deleted is waited for while nothing of it goes; in all ten times that."""
LOOKS_APART = 1.0
ALWAYS = ("virtualmachineinstances.kubevirt.io", "pods")
"""Kinds of objects that a run may make, whatever its matrix."""
MADE = (
    "virtualmachinepools.pool.kubevirt.io",
    "virtualmachineinstancereplicasets.kubevirt.io",
    "virtualmachines.kubevirt.io",
    *ALWAYS,
    "virtualmachineinstancetypes.instancetype.kubevirt.io",
    "virtualmachinepreferences.instancetype.kubevirt.io",
    "datavolumes.cdi.kubevirt.io",
    "network-attachment-definitions.k8s.cni.cncf.io",
    "persistentvolumeclaims",
    "secrets",
    "configmaps",
    "serviceaccounts",
)
"""Every kind of object that a run makes in a namespace, in the order in which they are removed."""
Say = Callable[[str], None]


class LeftError(Exception):
    """Something could not be removed; the message says what, and why."""


def sweep(api: Api, say: Say, *, namespace: str = "", dry_run: bool = False) -> bool:
    """Removes what dead runs have left; returns whether nothing of them is left.

    Args:
        api: of the cluster.
        say: is told what is found and what is done.
        namespace: in which to look; empty for all.
        dry_run: only tells.

    Raises ApiError when it cannot even be looked.
    """
    clean = True
    for sign in _signs(api, namespace):
        now = api.now()
        if not sign.is_old(now):
            left = sign.seconds - sign.age(now)
            say(
                f"run {sign.run} of {sign.owner} in namespace {sign.namespace} may be alive: its "
                f"last sign of life was {_ago(sign.age(now))}; it counts as dead in {left:.0f} s"
            )
            continue
        say(
            f"run {sign.run} of {sign.owner} in namespace {sign.namespace} has died: its last sign "
            f"of life was {_ago(sign.age(now))}"
        )
        try:
            if dry_run:
                for line in _would(api, sign):
                    say(line)
            else:
                _remove(api, sign, say)
        except (ApiError, LeftError) as error:
            say(f"what run {sign.run} has left in namespace {sign.namespace} is not gone: {error}")
            clean = False
    return clean


def _signs(api: Api, namespace: str) -> Iterator[Sign]:
    """Of every run that has left one, once."""
    where = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases" if namespace else LEASES
    # By its name, since a role can grant that alone.
    leases = api.items(where, fieldSelector=f"metadata.name={NAME}")
    yield from filter(None, map(of_lease, leases))
    if namespace:
        return
    claimed = {each["metadata"]["namespace"] for each in leases}
    for each in api.items(NAMESPACES, labelSelector=RUN):
        sign = of_namespace(each)
        if sign is not None and sign.namespace not in claimed:
            yield sign


def _would(api: Api, sign: Sign) -> Iterator[str]:
    for change in changes.noted(api, sign.namespace):
        yield f"would put back what it changed of {change.path}"
    if _is_own(api, sign):
        yield f"would delete namespace {sign.namespace} with all that is in it"
        return
    for path in _objects(api, sign.namespace, sign.run, _kinds(sign.obj)):
        yield f"would delete {path}"


def _remove(api: Api, sign: Sign, say: Say) -> None:
    """Raises ApiError, LeftError."""
    if sign.leased and not _taken_over(api, sign):
        say(f"run {sign.run} is alive again, or somebody else sweeps: it is left alone")
        return
    try:
        _remove_all(api, sign, say)
    except (ApiError, LeftError):
        # Somebody with more rights, or more luck, need not wait.
        with contextlib.suppress(ApiError):
            api.merge(lease_path(sign.namespace), {"spec": {"renewTime": written(sign.at)}})
        raise


def _remove_all(api: Api, sign: Sign, say: Say) -> None:
    changes.put_back(api, sign.namespace, say)
    if _is_own(api, sign):
        _remove_namespace(api, sign.namespace)
        say(f"namespace {sign.namespace} is gone, with all that was in it")
        return
    for path in _remove_objects(api, sign.namespace, sign.run, _kinds(sign.obj)):
        say(f"{path} is gone")
    api.delete(lease_path(sign.namespace))
    say(f"nothing of run {sign.run} is left in namespace {sign.namespace}")


def end(api: Api, claim: Claim) -> None:
    """Removes what is left of a run that ends and has put back what it changed.

    Where it could not, the record stays for a sweep. Raises ApiError, LeftError.
    """
    lease = api.find(claim.path)
    if lost_by(lease, claim):
        return
    if noted := changes.noted(api, claim.namespace):
        what = ", ".join(change.path for change in noted)
        raise LeftError(f"what the run changed of {what} was not put back")
    if not claim.given:
        _remove_namespace(api, claim.namespace)
        return
    if lease is not None:
        _remove_objects(api, claim.namespace, claim.mark.run, _kinds(lease))
        api.delete(claim.path)


def _taken_over(api: Api, sign: Sign) -> bool:
    """Whether the Lease was still as it was found, and is the sweeper's now."""
    patch = {
        "metadata": {"resourceVersion": sign.obj["metadata"]["resourceVersion"]},
        "spec": {
            "holderIdentity": f"sweep by {whoever_runs_this()}",
            "renewTime": written(api.now()),
        },
    }
    try:
        api.merge(lease_path(sign.namespace), patch)
    except ApiError as error:
        if error.code not in (404, CONFLICT):
            raise
        return False
    return True


def _is_own(api: Api, sign: Sign) -> bool:
    """Whether the run made the namespace; the namespace itself says so."""
    if sign.namespace != own_namespace(sign.run):
        return False
    found = api.find(f"{NAMESPACES}/{sign.namespace}")
    return found is not None and run_of(found) == sign.run


def _remove_namespace(api: Api, namespace: str) -> None:
    """Deletes a namespace and waits until it is gone. Raises ApiError, LeftError."""
    path = f"{NAMESPACES}/{namespace}"
    api.delete(path)
    _await(lambda: _remaining(api.find(path)))


def _remove_objects(api: Api, namespace: str, run: str, kinds: frozenset[str]) -> list[str]:
    """Deletes what a run made in a namespace, and waits until it is gone; their paths.

    Raises ApiError, LeftError.
    """
    removed = []
    for path in _objects(api, namespace, run, kinds):
        api.delete(path)
        removed.append(path)
    if removed:
        _await(lambda: ", ".join(_objects(api, namespace, run, kinds)))
    return removed


def _objects(api: Api, namespace: str, run: str, kinds: frozenset[str]) -> Iterator[str]:
    """The paths of what a run made in a namespace, but for what goes with its owner."""
    for kind in MADE:
        if kind not in kinds:
            continue
        plural, _, group = kind.partition(".")
        root = _root(api, group)
        if root is None:
            continue
        collection = f"{root}/namespaces/{namespace}/{plural}"
        for obj in api.items(collection, labelSelector=f"{RUN}={run}"):
            owners = obj["metadata"].get("ownerReferences") or ()
            if run_of(obj) == run and not any(each.get("controller") for each in owners):
                yield f"{collection}/{obj['metadata']['name']}"


def _root(api: Api, group: str) -> str | None:
    """Where a group is served; None where it is not."""
    if not group:
        return "/api/v1"
    found = api.find(f"/apis/{group}")
    return None if found is None else f"/apis/{found['preferredVersion']['groupVersion']}"


def _kinds(lease: Json) -> frozenset[str]:
    """Which kinds of objects the run makes."""
    told = str((lease["metadata"].get("annotations") or {}).get(KINDS) or "")
    return frozenset({*ALWAYS, *told.split(",")})


def _await(left: Callable[[], str]) -> None:
    """Returns when nothing is left. Raises LeftError when nothing of it goes any more."""
    began = moved = time.monotonic()
    before = ""
    while what := left():
        now = time.monotonic()
        if what != before:
            moved, before = now, what
        if now - moved > REMOVAL_SECONDS or now - began > 10 * REMOVAL_SECONDS:
            raise LeftError(f"it is being deleted for {now - began:.0f} s: {what}")
        time.sleep(LOOKS_APART)


def _remaining(namespace: Json | None) -> str:
    if namespace is None:
        return ""
    conditions = (namespace.get("status") or {}).get("conditions") or ()
    said = [str(each.get("message", "")) for each in conditions if each.get("status") == "True"]
    return "; ".join((f"namespace {namespace['metadata']['name']}", *said))


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 600 else f"{seconds / 60:.0f} min ago"
