"""What dead runs left: found, told and removed; nothing else is touched."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.provider import ClusterError, Handle
from clusters.contract.shape import SHAPES, ClusterSpec
from clusters.existing import claims, leftovers
from clusters.existing.claims import LEASES, NAMESPACES, Claim, Keeper, take
from clusters.existing.provider import OWNER, PROVIDER
from clusters.host import processes
from clusters.kit import changes
from clusters.kit.api import Api
from clusters.kit.changes import Gates, Labels, Parity
from clusters.kit.marks import Mark
from conformance import cli
from conformance.exits import Exit
from tests.unit.clusters_in_memory import brought_up
from tests.unit.existing.killed import (
    SCENARIOS,
    age,
    await_,
    begin,
    has_changed,
    has_claimed,
    has_vmi,
    kill,
    own_namespaces,
    settled,
    state,
)

MARK = Mark("abc123", "me@here")
KUBEVIRT = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt"
NODE = "/api/v1/nodes/node-2"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def there() -> Iterator[Handle]:
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="c-", dir="/tmp") as runtime,
    ):
        patch.setenv("XDG_RUNTIME_DIR", runtime)
        with brought_up(Path(runtime), ClusterSpec(nodes=SHAPES["policy-none"])) as handle:
            yield handle


@pytest.fixture
def api(there: Handle) -> Iterator[Api]:
    """The cluster; what tests leave of runs on it is swept."""
    api = Api(there.kubeconfig)
    before = state(api)
    yield api
    age(api)
    leftovers.sweep(api, print)
    assert settled(api, before) == before
    api.close()


@pytest.fixture
def theirs(api: Api) -> Iterator[str]:
    """Somebody's namespace with something in it."""
    api.create(NAMESPACES, {"metadata": {"name": "prod"}})
    api.create(f"{NAMESPACES}/prod/configmaps", {"metadata": {"name": "theirs"}, "data": {}})
    yield "prod"
    assert api.find(f"{NAMESPACES}/prod/configmaps/theirs") is not None
    api.delete(f"{NAMESPACES}/prod")


def swept(api: Api, namespace: str = "", *, dry_run: bool = False) -> str:
    """What a sweep says; nothing is left where it may do anything."""
    said: list[str] = []
    assert leftovers.sweep(api, said.append, namespace=namespace, dry_run=dry_run)
    return "\n".join(said)


def own(api: Api) -> Claim:
    """The claim of a run on a namespace that it made."""
    claim = Claim(claims.own_namespace(MARK.run), MARK)
    take(api, claim)
    return claim


def a_pod(api: Api, namespace: str, name: str, mark: Mark | None = None) -> str:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "pause"}]},
    }
    path = f"{NAMESPACES}/{namespace}/pods"
    api.create(path, pod if mark is None else mark.on(pod))
    return f"{path}/{name}"


# whole runs


@pytest.mark.parametrize("moment", [has_claimed, has_changed, has_vmi])
def test_a_run_is_killed_and_swept_and_the_cluster_is_as_before(
    api: Api, there: Handle, tmp_path: Path, moment: Callable[[Api], bool]
) -> None:
    before = state(api)
    run = begin(tmp_path, there.kubeconfig, "-n", "0", "-k", SCENARIOS)
    await_(moment, api, run)
    kill(run)
    sweep = ["sweep", "--kubeconfig", there.kubeconfig]
    assert cli.main(sweep) == Exit.CONFORMANT
    assert own_namespaces(api), "it may be alive"
    age(api)
    assert cli.main([*sweep, "--dry-run"]) == Exit.CONFORMANT
    assert own_namespaces(api)
    assert cli.main(sweep) == Exit.CONFORMANT
    assert settled(api, before) == before


def test_the_next_run_on_the_cluster_sweeps_first(api: Api, there: Handle, tmp_path: Path) -> None:
    own(api)
    age(api)
    run = begin(tmp_path, there.kubeconfig, "-n", "0", "-k", "sidecar-gate")
    said, _ = run.communicate()
    assert run.returncode == Exit.CONFORMANT, said
    assert "run abc123 of me@here in namespace conformance-abc123 has died" in " ".join(
        said.split()
    )


# what is found


def test_a_run_that_lives_is_not_touched(api: Api) -> None:
    claim = own(api)
    pod = a_pod(api, claim.namespace, "own", MARK)
    assert "run abc123 of me@here in namespace conformance-abc123 may be alive" in swept(api)
    assert api.find(pod) is not None
    age(api)
    assert "namespace conformance-abc123 is gone" in swept(api)


def test_a_namespace_that_no_run_has_marked_is_not_touched(api: Api, theirs: str) -> None:
    api.merge(f"{NAMESPACES}/{theirs}", {"metadata": {"labels": {"cpu-conformance/run": "x"}}})
    age(api)
    assert swept(api) == ""


@pytest.mark.parametrize("name", ["their-lease", claims.NAME])
def test_a_lease_that_is_no_run_s_is_not_touched(api: Api, theirs: str, name: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{theirs}/leases"
    spec = {"holderIdentity": "x", "leaseDurationSeconds": 1, "renewTime": "2020-01-01T00:00:00Z"}
    api.create(path, {"metadata": {"name": name}, "spec": spec})
    assert swept(api) == ""
    api.delete(f"{path}/{name}")


def test_of_a_namespace_that_stays_only_what_the_run_made_goes(api: Api, theirs: str) -> None:
    take(api, Claim(theirs, MARK, given=True))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "seed"}}
    api.create(f"{NAMESPACES}/{theirs}/secrets", MARK.on(secret))
    claims.announce(api, Claim(theirs, MARK, given=True), ["secrets", "nodes"])
    ours, other = a_pod(api, theirs, "ours", MARK), a_pod(api, theirs, "other")
    another = a_pod(api, theirs, "another", Mark("other1", "you@there"))
    age(api)
    told = swept(api, theirs, dry_run=True)
    assert f"would delete {ours}" in told
    assert "seed" in told
    assert "other" not in told
    assert f"{ours} is gone" in swept(api, theirs)
    assert api.find(ours) is None
    assert api.find(f"{NAMESPACES}/{theirs}/secrets/seed") is None
    assert api.find(other) is not None
    assert api.find(another) is not None


def test_a_namespace_is_used_by_one_run_at_a_time(api: Api, theirs: str) -> None:
    take(api, Claim(theirs, MARK, given=True))
    with pytest.raises(ClusterError, match="prod is used by run abc123 of me@here"):
        take(api, Claim(theirs, Mark("other1", "you@there"), given=True))
    with pytest.raises(ClusterError, match="there is no namespace nowhere"):
        take(api, Claim("nowhere", MARK, given=True))


def test_a_run_that_was_killed_before_it_had_a_lease_goes_by_its_namespace(api: Api) -> None:
    name = claims.own_namespace(MARK.run)
    api.create(NAMESPACES, MARK.on({"metadata": {"name": name}}))
    assert "may be alive" in swept(api)
    assert api.find(f"{NAMESPACES}/{name}") is not None
    age(api)
    assert "is gone" in swept(api)


# the claim


def test_a_claim_is_renewed_by_the_servers_clock(api: Api, there: Handle) -> None:
    claim = own(api)
    age(api)
    keeper = Keeper(there.kubeconfig, claim, lambda _: None)
    keeper.renew()
    keeper.stop()
    sign = claims.of_lease(api.get(claim.path))
    assert sign is not None
    assert not sign.is_old(api.now())
    assert sign.is_old(api.now() + timedelta(seconds=sign.seconds + 5))


def test_the_servers_clock_is_known_from_its_answers(
    there: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time()

    class Late(datetime):
        """A clock of this machine that is an hour behind."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(hours=1)

    api = Api(there.kubeconfig)
    monkeypatch.setattr("clusters.kit.api.datetime", Late)
    assert real - api.now().timestamp() > 3000
    api.get("/version")
    assert abs(api.now().timestamp() - real) < 600


def test_who_was_taken_for_dead_knows_and_does_nothing_more(
    api: Api, theirs: str, monkeypatch: pytest.MonkeyPatch, there: Handle
) -> None:
    claim = Claim(theirs, MARK, given=True)
    take(api, claim)
    handle = Handle("existing", "x", "/nowhere", there.kubeconfig, claim.details())
    assert PROVIDER.alive(handle) is None
    stays = a_pod(api, theirs, "ours", MARK)
    age(api)
    # The sweeper ends in the middle.
    with monkeypatch.context() as patch:
        patch.setattr("clusters.kit.changes.put_back", _broken)
        with pytest.raises(ZeroDivisionError):
            swept(api)
    with pytest.raises(ClusterError, match=r"was taken for dead.* removed by sweep by"):
        PROVIDER.alive(handle)
    keeper = Keeper(there.kubeconfig, claim, lambda _: None)
    with pytest.raises(claims.ClaimLostError, match="taken for dead"):
        keeper.renew()
    keeper.stop()
    leftovers.end(api, claim)
    assert api.find(stays) is not None, "that is the sweeper's business now"
    assert "may be alive" in swept(api), "another sweeper waits for the first one"
    age(api)
    swept(api)
    assert api.find(stays) is None


def _broken(*_: object) -> None:
    raise ZeroDivisionError


def test_a_run_that_was_killed_on_this_machine_counts_as_dead_at_once(
    api: Api, there: Handle, tmp_path: Path
) -> None:
    claim = own(api)
    details = {**claim.details(), OWNER: processes.identity(0)}
    PROVIDER.down(Handle("existing", "x", str(tmp_path), there.kubeconfig, details))
    assert api.find(claim.path) is not None, "a sweep tells what it removes"
    assert "has died" in swept(api)


def test_who_was_renewed_in_the_same_moment_is_not_swept(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = own(api)
    age(api)
    real = claims.written

    def renewed_meanwhile(now: Any) -> str:
        api.merge(claim.path, {"spec": {"renewTime": real(now)}})
        return real(now)

    monkeypatch.setattr(leftovers, "written", renewed_meanwhile)
    assert "is alive again, or somebody else sweeps" in swept(api)
    assert api.find(f"{NAMESPACES}/{claim.namespace}") is not None
    monkeypatch.undo()


# changes


def change(api: Api, claim: Claim, *about_to: changes.Change) -> None:
    changes.note(api, claim.namespace, MARK, about_to)
    for each in about_to:
        if isinstance(each, Labels):
            api.merge(each.path, {"metadata": {"labels": dict(each.made)}})
        elif isinstance(each, Parity):
            api.merge(each.path, each.patch(each.made))
        else:
            api.merge(each.path, each.patch(each.made))


def gates(api: Api, made: list[str]) -> Gates:
    was = changes.gates_of("kubevirts", api.get(KUBEVIRT))
    return Gates("kubevirts", "kubevirt", "kubevirt", was, made)


def test_gates_are_put_back_in_their_order_and_what_was_first_counts(api: Api) -> None:
    claim = own(api)
    change(api, claim, gates(api, ["Sidecar"]))
    change(api, claim, gates(api, ["Sidecar", "CPUManager"]))
    age(api)
    swept(api)
    assert changes.gates_of("kubevirts", api.get(KUBEVIRT)) == ["CPUManager", "Sidecar"]


def test_the_annotation_for_even_parity_is_taken_back(api: Api) -> None:
    claim = own(api)
    change(api, claim, Parity("kubevirt", "kubevirt", None, ""))
    assert changes.PARITY in api.get(KUBEVIRT)["metadata"]["annotations"]
    age(api)
    assert f"annotation {changes.PARITY} of kubevirt is none again" in swept(api)
    assert changes.PARITY not in (api.get(KUBEVIRT)["metadata"].get("annotations") or {})


def test_an_annotation_that_somebody_else_put_stays(api: Api) -> None:
    claim = own(api)
    parity = Parity("kubevirt", "kubevirt", None, "")
    change(api, claim, parity)
    api.merge(KUBEVIRT, parity.patch("by hand"))
    age(api)
    assert "somebody else changed it" in swept(api)
    assert api.get(KUBEVIRT)["metadata"]["annotations"][changes.PARITY] == "by hand"
    api.merge(KUBEVIRT, parity.patch(None))


def test_what_somebody_else_changed_meanwhile_is_left_and_told(api: Api) -> None:
    claim = own(api)
    # A label that virt-handler does not write.
    label = "labeller.example/cpumanager"
    change(api, claim, gates(api, ["Sidecar"]), Labels("node-2", {label: None}, {label: "true"}))
    api.merge(KUBEVIRT, gates(api, ["Sidecar", "NUMA"]).patch(["Sidecar", "NUMA"]))
    api.merge(NODE, {"metadata": {"labels": {label: "false"}}})
    age(api)
    told = swept(api)
    assert (
        f"label {label} of node node-2 is left alone: it was none, the run made it true, and "
        "somebody else false" in told
    )
    assert api.get(NODE)["metadata"]["labels"][label] == "false"
    assert changes.gates_of("kubevirts", api.get(KUBEVIRT)) == ["Sidecar", "NUMA", "CPUManager"]
    api.merge(KUBEVIRT, gates(api, []).patch(["CPUManager", "Sidecar"]))
    api.merge(NODE, {"metadata": {"labels": {label: None}}})


def test_what_a_run_could_not_put_back_stays_for_a_sweep(api: Api) -> None:
    claim = own(api)
    change(api, claim, gates(api, ["Sidecar"]))
    with pytest.raises(leftovers.LeftError, match="was not put back"):
        leftovers.end(api, claim)
    age(api)
    assert "feature gate CPUManager of kubevirt/kubevirt is on again" in swept(api)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        json.dumps({"node": "node-2", "was": {"admin": "true"}, "made": {"admin": None}}),
        json.dumps({"node": "../x", "was": {}, "made": {}}),
        json.dumps(vars(Gates("kubevirts", "kubevirt", "kubevirt", ["Root"], []))),
        json.dumps(vars(Gates("secrets", "kubevirt", "kubevirt", [], []))),
        json.dumps(vars(Gates("configmaps", "kube-system", "coredns", None, []))),
    ],
)
def test_nothing_else_is_put_back_than_what_scenarios_change(api: Api, text: str) -> None:
    claim = own(api)
    told = json.loads(text) if text.startswith('{"') else {}
    made = (Labels(**told) if "node" in told else Gates(**told)).key if told else "gates.x"
    record = {"metadata": {"name": changes.NAME}, "data": {made.replace("/", "_"): text}}
    api.create(f"{NAMESPACES}/{claim.namespace}/configmaps", record)
    age(api)
    said: list[str] = []
    clean = leftovers.sweep(api, said.append)
    assert not leftovers.sweep(api, said.append, dry_run=True), "nobody need wait to try again"
    api.delete(f"{NAMESPACES}/{claim.namespace}/configmaps/{changes.NAME}")
    assert not clean
    assert "is no change that a run makes" in said[-1]


def test_with_nothing_to_do_it_says_so(
    api: Api, there: Handle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sweep", "--kubeconfig", there.kubeconfig]) == Exit.CONFORMANT
    assert "no run has left anything" in capsys.readouterr().err


def test_a_cluster_that_cannot_be_looked_at_is_no_clean_one(
    tmp_path: Path, there: Handle, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(there.kubeconfig).read_text()
    (tmp_path / "config").write_text(text.replace("token: ", "token: no"))
    assert cli.main(["sweep", "--kubeconfig", str(tmp_path / "config")]) == Exit.INCONCLUSIVE
    assert "cannot be looked for" in capsys.readouterr().err


def test_everything_that_is_made_is_marked(api: Api) -> None:
    claim = own(api)
    for path in (f"{NAMESPACES}/{claim.namespace}", claim.path):
        metadata = api.get(path)["metadata"]
        assert metadata["labels"]["cpu-conformance/run"] == "abc123"
        assert metadata["annotations"]["cpu-conformance/owner"] == "me@here"
        assert metadata["annotations"]["cpu-conformance/ttl"] == "300s"
    assert [each["metadata"]["name"] for each in api.items(LEASES)] == [claims.NAME]
