"""The claim of a run on its namespace: a Lease in it, which the run renews for as long as it lives.

Times are those of the API server's clock, so that the clocks of those who run do not matter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clusters.contract.provider import ClusterError, Handle
from clusters.kit.api import Api, ApiError, Json, once
from clusters.kit.changes import CONFLICT
from clusters.kit.marks import TTL, Mark, owner_of, run_of

NAME = "cpu-conformance"
"""Of the Lease."""
LEASES = "/apis/coordination.k8s.io/v1/leases"
NAMESPACES = "/api/v1/namespaces"
KINDS = "cpu-conformance/kinds"
"""Annotation of the Lease: kinds of objects that the run makes beside VMIs and pods, as in
``secrets,virtualmachines.kubevirt.io``."""
PRIVILEGED = "pod-security.kubernetes.io/enforce"
"""Pod Security admission refuses what is privileged elsewhere."""
LOOK_SECONDS = 2.0
"""Between two looks at whether it is time."""
RETRY_SECONDS = 5.0
"""Before a renewal that did not come through is tried again."""
_NAMESPACE, _GIVEN = "namespace", "namespace-given"
_RUN, _STARTED_BY = "run", "started-by"
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
"""metav1.MicroTime."""


class ClaimLostError(Exception):
    """Somebody has taken the run for dead; the message says who and why."""


@dataclass(frozen=True)
class Claim:
    """A run's claim on a namespace.

    Attributes:
        given: the namespace was there before, and stays.
    """

    namespace: str
    mark: Mark
    given: bool = False

    @property
    def path(self) -> str:
        """Of the Lease."""
        return lease_path(self.namespace)

    def details(self) -> dict[str, str]:
        """What a handle keeps of it."""
        given = {_GIVEN: "yes"} if self.given else {}
        return {
            _NAMESPACE: self.namespace,
            _RUN: self.mark.run,
            _STARTED_BY: self.mark.owner,
            **given,
        }


def claim_of(handle: Handle) -> Claim | None:
    """The claim that a handle keeps; None where everything is the run's own."""
    details = handle.details
    if _RUN not in details:
        return None
    mark = Mark(details[_RUN], details[_STARTED_BY])
    return Claim(details[_NAMESPACE], mark, _GIVEN in details)


def own_namespace(run: str) -> str:
    """What a run calls a namespace that it makes."""
    return f"conformance-{run}"


def lease_path(namespace: str) -> str:
    """Of the Lease of a namespace."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{NAME}"


def take(api: Api, claim: Claim, *, privileged: bool = False) -> None:
    """Makes the namespace, unless it is given, and the Lease in it.

    Args:
        api: of the cluster.
        claim: on a namespace that nobody else's live run has.
        privileged: whether privileged pods will be there.

    Raises:
        ClusterError: there is no such namespace, or it is somebody else's.
        ApiError: the API refused or did not answer; what was made is gone again.
    """
    if not claim.given:
        security = {PRIVILEGED: "privileged"} if privileged else {}
        manifest = {"metadata": {"name": claim.namespace, "labels": security}}
        api.create(NAMESPACES, claim.mark.on(manifest))
    try:
        _take_lease(api, claim)
    except BaseException:
        if not claim.given:
            api.delete(f"{NAMESPACES}/{claim.namespace}")
        raise


def _take_lease(api: Api, claim: Claim) -> None:
    now = written(api.now())
    manifest = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME},
        "spec": {
            "holderIdentity": claim.mark.run,
            "leaseDurationSeconds": claim.mark.seconds,
            "acquireTime": now,
            "renewTime": now,
        },
    }
    try:
        api.create(claim.path.removesuffix(f"/{NAME}"), claim.mark.on(manifest))
    except ApiError as error:
        if error.code == 404:
            raise ClusterError(
                f"there is no namespace {claim.namespace}: create it, or leave --namespace out"
            ) from error
        if error.code != CONFLICT:
            raise
        lease = api.find(claim.path)
        whose = f"run {run_of(lease)} of {owner_of(lease)}" if lease else "another run"
        raise ClusterError(
            f"namespace {claim.namespace} is used by {whose}: wait for its end, or give another "
            "--namespace"
        ) from error


def announce(api: Api, claim: Claim, kinds: Iterable[str]) -> None:
    """Says of which further kinds the run will make objects. Raises ApiError."""
    noted = {KINDS: ",".join(sorted(set(kinds)))}
    api.merge(claim.path, {"metadata": {"annotations": noted}})


def give_up(api: Api, claim: Claim) -> None:
    """Says of a run that is known to have died that it has: nobody need wait. Raises ApiError."""
    lease = api.find(claim.path)
    if lease is None or lost_by(lease, claim):
        return
    then = api.now() - timedelta(seconds=claim.mark.seconds + 1)
    version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
    api.merge(claim.path, {"metadata": version, "spec": {"renewTime": written(then)}})


def lost(api: Api, claim: Claim) -> str | None:
    """Who has taken a run for dead and removed what it had; None while its claim holds.

    Raises ApiError.
    """
    return lost_by(api.find(claim.path), claim)


def lost_by(lease: Json | None, claim: Claim) -> str | None:
    """As `lost`, from the Lease as it is; None where there is none."""
    if lease is None:
        return f"the Lease of this run is gone: somebody has removed namespace {claim.namespace}"
    holder = str((lease.get("spec") or {}).get("holderIdentity") or "nobody")
    if holder == claim.mark.run:
        return None
    return (
        f"this run gave no sign of life for {claim.mark.seconds} s and was taken for dead: what it "
        f"made in namespace {claim.namespace} is removed by {holder}"
    )


class Keeper:
    """Renews a claim, three times in its duration, until it is stopped or the process ends."""

    def __init__(self, kubeconfig: str, claim: Claim, say: Callable[[str], None]) -> None:
        """Begins at once; `say` is told when the claim is lost. Raises ApiError."""
        self._api = Api(kubeconfig, retry=once)
        self._claim = claim
        self._say = say
        self._version = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="claim", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Renews it no more. Safe to call twice."""
        self._ended.set()
        self._thread.join()
        self._api.close()

    def renew(self) -> None:
        """Renews it once. Raises ClaimLostError, ApiError."""
        for _ in range(2):
            if not self._version:
                lease = self._api.find(self._claim.path)
                if why := lost_by(lease, self._claim):
                    raise ClaimLostError(why)
                assert lease is not None
                self._version = str(lease["metadata"]["resourceVersion"])
            patch = {
                "metadata": {"resourceVersion": self._version},
                "spec": {"renewTime": written(self._api.now())},
            }
            self._version = ""
            try:
                renewed = self._api.merge(self._claim.path, patch)
            except ApiError as error:
                if error.code in (404, CONFLICT):
                    continue
                raise
            self._version = str(renewed["metadata"]["resourceVersion"])
            return
        raise ApiError("the Lease is changed by somebody else all the time")

    def _keep(self) -> None:
        wait, last = 0.0, 0.0
        while not self._ended.wait(LOOK_SECONDS):
            # Of the wall, which goes on while this machine is suspended.
            if 0 <= time.time() - last < wait:
                continue
            last = time.time()
            try:
                self.renew()
                wait = self._claim.mark.seconds / 3
            except ClaimLostError as error:
                self._say(str(error))
                return
            except ApiError:
                wait = RETRY_SECONDS


@dataclass(frozen=True)
class Sign:
    """The last sign of life of a run, as the cluster shows it.

    Attributes:
        obj: the Lease, or the run's own namespace where that has none yet.
        seconds: how long it counts.
        leased: it is a Lease.
    """

    obj: Json
    namespace: str
    at: datetime
    seconds: float
    leased: bool

    @property
    def run(self) -> str:
        """Whose it is."""
        return run_of(self.obj)

    @property
    def owner(self) -> str:
        """Who started it."""
        return owner_of(self.obj)

    def age(self, now: datetime) -> float:
        """Seconds that have passed since."""
        return (now - self.at).total_seconds()

    def is_old(self, now: datetime) -> bool:
        """Whether the run counts as dead."""
        return self.age(now) > self.seconds


def of_lease(lease: Json) -> Sign | None:
    """What a Lease shows; None when it is not a run's."""
    spec, metadata = lease.get("spec") or {}, lease["metadata"]
    at, seconds = _time(spec.get("renewTime")), spec.get("leaseDurationSeconds")
    if metadata["name"] != NAME or not run_of(lease) or at is None or not isinstance(seconds, int):
        return None
    return Sign(lease, metadata["namespace"], at, seconds, leased=True)


def of_namespace(namespace: Json) -> Sign | None:
    """What a namespace shows that a run made and did not come to put a Lease in; None when no
    run made it.
    """
    metadata = namespace["metadata"]
    ttl = str((metadata.get("annotations") or {}).get(TTL) or "").removesuffix("s")
    at = _time(metadata.get("creationTimestamp"))
    run = run_of(namespace)
    if not run or metadata["name"] != own_namespace(run) or not ttl.isdecimal() or at is None:
        return None
    return Sign(namespace, metadata["name"], at, float(ttl), leased=False)


def written(now: datetime) -> str:
    """A time as a Lease has it."""
    return now.astimezone(UTC).strftime(_FORM)


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else None
