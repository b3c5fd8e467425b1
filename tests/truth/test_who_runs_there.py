"""Exclusive CPUs beside everything that runs below kubepods, seen or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.model.evidence import RawSnapshot
from tests.selfproof import recording as good
from tests.selfproof.mutations import Change, affinity, checkpoint, cpuset, members, without
from tests.truth.changes import (
    BROKEN,
    ELSEWHERE,
    KEPT,
    UNSEEN,
    add,
    cgroup,
    everything,
    judged,
    moved,
    pod_objects,
    process,
    unreadable,
)
from tests.truth.recordings import Recording

OLD = "9" * 64
GONE = "deadbeef-0000-4000-8000-000000000001"
HANDLER_POD = good.HANDLER_CGROUP.rpartition("/")[0]
GONE_SCOPE = (
    f"/kubepods.slice/kubepods-pod{GONE.replace('-', '_')}.slice/cri-containerd-{OLD}.scope"
)
OWN, ALL = "2-4", "0-11"


def ephemeral(pods: list[Any]) -> None:
    name, image = "debugger", "busybox"
    pods[0]["spec"]["ephemeralContainers"] = [{"name": name, "image": image}]
    pods[0]["status"]["ephemeralContainerStatuses"] = [good.state(name, OLD)]


DEBUGGER = f"{good.POD_SLICE}/cri-containerd-{OLD}.scope"


def test_c07_an_ephemeral_container_on_exclusive_cpus_breaks_them() -> None:
    found = everything(
        pod_objects(ephemeral), cgroup(DEBUGGER, ALL, [800]), process(800, "sh", ALL)
    )
    assert {n for n, f in found.items() if f.verdict is BROKEN} == {"CPU-EXCLUSIVE", "CPU-POOL"}
    assert "ephemeral container debugger" in found["CPU-EXCLUSIVE"].message


def test_c07_one_that_stays_in_the_shared_pool_breaks_nothing() -> None:
    found = everything(
        pod_objects(ephemeral), cgroup(DEBUGGER, good.POOL, [800]), process(800, "sh", good.POOL)
    )
    assert {f.verdict for n, f in found.items() if n not in ELSEWHERE} == {KEPT}


@pytest.mark.parametrize("where", [GONE_SCOPE, f"{HANDLER_POD}/cri-containerd-{OLD}.scope"])
def test_c07_what_the_api_does_not_know_counts_as_well(where: str) -> None:
    """A pod that was deleted by force, and an older instance of a container."""
    there = cgroup(where, ALL, [800])
    finding = judged("CPU-EXCLUSIVE", there, process(800, "stress", ALL))
    assert finding.verdict is BROKEN
    assert not finding.final
    assert f"stress (800) of container {OLD} of pod" in finding.message
    away = cgroup(where, good.POOL, [800])
    assert judged("CPU-EXCLUSIVE", away, process(800, "stress", good.POOL)).verdict is KEPT


def test_c07_nested_cgroups_belong_to_their_container() -> None:
    deep = f"{good.HANDLER_CGROUP}/docker/{OLD}/kubelet/kubepods/pod{GONE}/{OLD}"
    finding = judged("CPU-EXCLUSIVE", cgroup(deep, good.POOL, [800]), process(800, "sh", "3"))
    assert finding.verdict is BROKEN
    assert "thread 'sh' of container virt-handler" in finding.message
    assert judged("CPU-EXCLUSIVE", cgroup(deep, good.POOL, [800])).verdict is KEPT


def test_c07_a_sandbox_is_nobody_and_another_process_in_its_place_is_somebody() -> None:
    sandbox = cgroup(f"{HANDLER_POD}/cri-containerd-{OLD}.scope", ALL, [800], configured="")
    assert judged("CPU-EXCLUSIVE", sandbox, process(800, "pause", ALL)).verdict is KEPT
    assert judged("CPU-EXCLUSIVE", sandbox, process(800, "miner", ALL)).verdict is BROKEN
    monitor = cgroup(f"{HANDLER_POD}/crio-conmon-{OLD}.scope", ALL, [800], configured="")
    assert judged("CPU-EXCLUSIVE", monitor, process(800, "conmon", ALL)).verdict is KEPT


def test_c07_sandboxes_that_run_another_program_are_the_same_in_most_pods() -> None:
    changes = []
    for number, home in enumerate((good.POD_SLICE, good.OTHER_CGROUP.rpartition("/")[0])):
        scope = f"{home}/cri-containerd-{str(number) * 64}.scope"
        pid = 50 + number
        changes += [cgroup(scope, ALL, [pid], configured=""), process(pid, "sh", ALL)]
    assert judged("CPU-EXCLUSIVE", *changes).verdict is KEPT
    second = cgroup(f"{good.POD_SLICE}/cri-containerd-{OLD}.scope", ALL, [800])
    finding = judged("CPU-EXCLUSIVE", *changes, second, process(800, "sh", ALL))
    assert finding.verdict is BROKEN
    assert "sh (800)" in finding.message
    assert "sh (50)" not in finding.message


@pytest.mark.parametrize("sandbox", ["pause", "sh"])
@pytest.mark.parametrize("configured", ["", ALL])
def test_c07_old_instances_in_most_pods_are_no_sandboxes(sandbox: str, configured: str) -> None:
    """A pod has one sandbox, its first container; a runtime may have lost one of each pod."""

    def beside(cpus: str) -> list[Change]:
        changes = []
        for number, home in enumerate((good.POD_SLICE, good.OTHER_CGROUP.rpartition("/")[0])):
            first = f"{home}/cri-containerd-{str(number) * 64}.scope"
            changes += [cgroup(first, ALL, [50 + number], configured="")]
            changes += [process(50 + number, sandbox, ALL)]
            old = f"{home}/cri-containerd-{str(number + 2) * 64}.scope"
            changes += [cgroup(old, cpus, [800 + number], configured=configured and cpus)]
            changes += [process(800 + number, "envoy", cpus)]
        return changes

    finding = judged("CPU-EXCLUSIVE", *beside(ALL))
    assert finding.verdict is BROKEN
    assert "envoy (800)" in finding.message
    assert f"{sandbox} (50)" not in finding.message
    assert judged("CPU-EXCLUSIVE", *beside(good.POOL)).verdict is KEPT


def test_c10_a_list_of_pods_that_was_not_read_leaves_it_open() -> None:
    def refused(raw: RawSnapshot) -> RawSnapshot:
        return replace(raw, pods=(), not_observed={"pods": "403 Forbidden"})

    for requirement in ("CPU-EXCLUSIVE", "CPU-POOL"):
        finding = judged(requirement, refused)
        assert finding.verdict is UNSEEN
        assert "403 Forbidden" in finding.message
        wide = cpuset(good.HANDLER_CGROUP, ALL)
        assert judged(requirement, refused, wide).verdict is UNSEEN
        assert judged(requirement, wide).verdict is BROKEN


@pytest.mark.parametrize("kept", [0, 1])
def test_c10_a_list_that_lacks_the_launcher_itself_is_not_whole(kept: int) -> None:
    """As of somebody who may see other namespaces alone, or from a cache that is behind."""

    def short(raw: RawSnapshot) -> RawSnapshot:
        return replace(raw, pods=raw.pods[1 : 1 + kept])

    for requirement in ("CPU-EXCLUSIVE", "CPU-POOL"):
        finding = judged(requirement, short)
        assert finding.verdict is UNSEEN
        assert "lacks virt-launcher" in finding.message
    assert judged("CPU-EXCLUSIVE", short, checkpoint(overlap)).verdict is BROKEN


def overlap(state: Any) -> None:
    state["entries"][good.OTHER_UID]["compute"] = "4,6-7"


def test_c10_one_pod_that_is_none_costs_completeness_and_not_the_run() -> None:
    def odd(pods: list[Any]) -> None:
        pods[2]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "many"

    finding = judged("CPU-EXCLUSIVE", pod_objects(odd))
    assert finding.verdict is UNSEEN
    assert "many" in finding.message
    assert judged("PIN-THREADS", pod_objects(odd)).verdict is KEPT
    assert judged("CPU-EXCLUSIVE", pod_objects(odd), cpuset(good.OTHER_CGROUP, "4-7")).verdict is (
        BROKEN
    )


@pytest.mark.parametrize(
    "path",
    [
        f"{good.CGROUPS}{good.HANDLER_CGROUP}/cpuset.cpus.effective",
        f"{good.CGROUPS}{good.HANDLER_CGROUP}/cgroup.threads",
        good.status_path(400, 400),
        "/proc/900/cgroup",
    ],
)
def test_c10_a_file_that_may_hide_somebody_leaves_it_open(path: str) -> None:
    assert judged("CPU-EXCLUSIVE", unreadable(path)).verdict is UNSEEN
    for harmless in (f"{good.CGROUPS}{good.HANDLER_CGROUP}/cpu.stat", "/proc/900/status"):
        assert judged("CPU-EXCLUSIVE", unreadable(harmless)).verdict is KEPT


def crun(path: str, name: str = "container") -> list[Any]:
    """The container's processes and cpuset are below its scope, which has everything."""
    return [moved(path, f"{path}/{name}"), cgroup(path, ALL, configured="")]


EVERYBODY = (
    good.ROOT,
    good.HOOK_CGROUP,
    good.LOG_CGROUP,
    good.OTHER_CGROUP,
    good.HANDLER_CGROUP,
)


@pytest.mark.parametrize("name", ["container", "sub"])
def test_c02_a_container_is_where_its_processes_are(name: str) -> None:
    layout = [change for path in EVERYBODY for change in crun(path, name)]
    found = everything(*layout)
    assert {f.verdict for n, f in found.items() if n not in ELSEWHERE} == {KEPT}, found
    wrong = cpuset(f"{good.HANDLER_CGROUP}/{name}", ALL)
    assert judged("CPU-EXCLUSIVE", *layout, wrong).verdict is BROKEN
    assert judged("CPU-COUNT", *layout, cpuset(f"{good.ROOT}/{name}", ALL)).verdict is BROKEN


def test_c02_a_recorded_kubevirt_on_crun_keeps_everything(tmp_path: Any) -> None:
    recording = Recording(tmp_path)
    assert recording.nested("container")
    assert recording.failed() == set()
    assert recording.verdicts("EMU-HOUSEKEEPING") == {"pass"}
    assert recording.verdicts("CPU-COUNT") == {"pass"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/kubepods.slice", "/k3s.slice/k3s-kubepods.slice"),
        ("/kubepods.slice", "/system.slice/k0s.service/kubepods.slice"),
        ("/kubepods.slice", r"/my\x2droot.slice/my\x2droot-kubepods.slice"),
        ("/kubepods.slice", "/kubelet/kubepods"),
        ("/kubepods.slice", "/a/b/c/d/kubepods"),
    ],
)
def test_n01_kubepods_is_found_by_its_meaning(old: str, new: str) -> None:
    elsewhere = moved(old, new)
    found = everything(elsewhere)
    assert {f.verdict for n, f in found.items() if n not in ELSEWHERE} == {KEPT}, found
    wrong = cpuset(good.HANDLER_CGROUP.replace(old, new), ALL)
    assert judged("CPU-EXCLUSIVE", elsewhere, wrong).verdict is BROKEN


def init_container(raw: RawSnapshot, *, running: bool) -> RawSnapshot:
    def edit(pods: list[Any]) -> None:
        pods[0]["spec"]["initContainers"].append(good.container("prepare", "3", "1Gi"))
        statuses = pods[0]["status"]["initContainerStatuses"]
        statuses.append(good.state("prepare", OLD, running=running))

    raw = pod_objects(edit)(raw)
    return checkpoint(lambda state: state["entries"][good.UID].update(prepare=OWN))(raw)


def test_c21_containers_of_one_pod_may_follow_one_another() -> None:
    finding = judged("CPU-EXCLUSIVE", raw=init_container(good.running(), running=False))
    assert finding.verdict is KEPT, finding.message
    running = init_container(good.running(), running=True)
    assert judged("CPU-EXCLUSIVE", raw=running).verdict is BROKEN


def test_c21_a_second_container_that_runs_is_no_successor() -> None:
    twice = checkpoint(
        lambda state: state["entries"][good.UID].update({"hook-sidecar-0": "2", "compute": OWN})
    )
    finding = judged("CPU-EXCLUSIVE", twice)
    assert finding.verdict is BROKEN
    assert finding.final
    other = checkpoint(lambda state: state["entries"].update({GONE: {"prepare": "2"}}))
    assert judged("CPU-EXCLUSIVE", other).final


def host(pid: int, name: str, cpus: str) -> Any:
    first = "Name:\tinit\nTgid:\t1\nPid:\t1\nPPid:\t0\nCpus_allowed_list:\t0-11\n"
    text = f"Name:\t{name}\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t1\nCpus_allowed_list:\t{cpus}\n"
    place = f"0::/system.slice/{name}.service\n"
    return add({"/proc/1/status": first, f"/proc/{pid}/status": text, f"/proc/{pid}/cgroup": place})


def test_c22_a_process_of_the_node_on_exclusive_cpus_is_told_and_breaks_nothing() -> None:
    finding = judged("CPU-EXCLUSIVE", host(900, "stress", "3"))
    assert finding.verdict is KEPT
    (note,) = finding.notes
    assert "stress (900)" in note
    assert "/system.slice/stress.service" in note
    for cpus in (ALL, "0-1", "3,9"):
        assert judged("CPU-EXCLUSIVE", host(900, "irqbalance", cpus)).notes == ()


def test_c22_nobody_looked_is_not_nobody_there() -> None:
    finding = judged("CPU-EXCLUSIVE", without("/proc/1/"))
    compared = {each.what: each.value for each in finding.compared}
    assert compared["processes of the node itself"] == "not looked at"


ROOT_THREADS = (154, 155, 170)


def in_root(*processes: tuple[int, str, int, int]) -> list[Any]:
    """Processes (id, name, parent, id in the namespace) that sit in the root of compute."""
    tids = [pid for pid, *_ in processes]
    return [
        members({good.ROOT: (*ROOT_THREADS, *tids)}),
        *(process(p, name, OWN, parent=up, inner=inner) for p, name, up, inner in processes),
    ]


def test_c15_an_exec_with_children_is_not_the_launchers() -> None:
    shell = in_root((800, "bash", 99, 90), (801, "top", 800, 91), (802, "less", 801, 92))
    finding = judged("EMU-HOUSEKEEPING", *shell)
    assert finding.verdict is KEPT
    assert any("bash (800)" in note for note in finding.notes)


@pytest.mark.parametrize(
    ("name", "parent"), [("virtqemud", 101), ("swtpm", 100), ("anything", 150), ("sh", 120)]
)
def test_c15_a_process_of_the_launcher_that_stayed_is(name: str, parent: int) -> None:
    finding = judged("EMU-HOUSEKEEPING", *in_root((800, name, parent, 90)))
    assert finding.verdict is BROKEN
    assert f"such as {name} (" in finding.message
    assert "800)" in finding.message


def test_c15_a_thread_of_qemu_that_stayed_is() -> None:
    stayed = members({good.ROOT: (*ROOT_THREADS, 151), good.HOUSEKEEPING: (100, 101, 150)})
    assert judged("EMU-HOUSEKEEPING", stayed).verdict is BROKEN


def test_c15_a_process_whose_parent_has_ended_is_named_and_not_decided() -> None:
    finding = judged("EMU-HOUSEKEEPING", *in_root((800, "sleep", 100, 90), (801, "cat", 800, 91)))
    assert finding.verdict is UNSEEN
    assert "'sleep' (800)" in finding.message


def dra(pods: list[Any]) -> None:
    pods[0]["spec"]["resourceClaims"] = [{"name": "cpus", "resourceClaimName": "x"}]


def test_cpus_that_a_driver_gives_are_not_in_the_checkpoint() -> None:
    none = checkpoint(lambda state: state["entries"].pop(good.UID))
    assert judged("CPU-EXCLUSIVE", none).verdict is BROKEN
    assert judged("CPU-EXCLUSIVE", none, pod_objects(dra)).verdict is UNSEEN
    wide = cpuset(good.HANDLER_CGROUP, ALL)
    assert judged("CPU-EXCLUSIVE", none, pod_objects(dra), wide).verdict is BROKEN


def policy(name: str) -> Any:
    def plugin(pods: list[Any]) -> None:
        pods[1]["spec"]["containers"][0]["name"] = name
        pods[1]["status"]["containerStatuses"][0]["name"] = name

    return pod_objects(plugin)


@pytest.mark.parametrize("name", ["nri-resource-policy-balloons", "dracpu"])
def test_cpus_that_a_plugin_of_the_runtime_gives_are_not_in_the_checkpoint(name: str) -> None:
    """Whoever shares pCPUs with compute is seen all the same."""
    elsewhere = checkpoint(lambda state: state["entries"].update({good.UID: {"compute": "9-11"}}))
    assert judged("CPU-EXCLUSIVE", elsewhere).verdict is BROKEN
    assert judged("CPU-EXCLUSIVE", elsewhere, policy(name)).verdict is UNSEEN
    assert judged("CPU-EXCLUSIVE", policy(name)).verdict is KEPT
    wide = cpuset(good.HANDLER_CGROUP, ALL)
    assert judged("CPU-EXCLUSIVE", elsewhere, policy(name), wide).verdict is BROKEN
    assert judged("CPU-POOL", wide).verdict is BROKEN
    assert judged("CPU-POOL", wide, policy(name)).verdict is UNSEEN


def static_pod(pods: list[Any]) -> None:
    pods[1]["metadata"] |= {
        "uid": GONE,
        "annotations": {"kubernetes.io/config.hash": good.OTHER_UID},
    }


def test_a_static_pod_has_its_cpus_under_the_uid_of_its_node() -> None:
    for requirement in ("CPU-POOL", "CPU-EXCLUSIVE"):
        assert judged(requirement, pod_objects(static_pod)).verdict is KEPT
    wide = affinity(300, 300, "4-7")
    assert judged("CPU-EXCLUSIVE", pod_objects(static_pod), wide).verdict is BROKEN


def scheme(name: str) -> Any:
    def edit(pods: list[Any]) -> None:
        for pod in pods:
            for kind in ("initContainerStatuses", "containerStatuses"):
                for state in pod["status"].get(kind, ()):
                    state["containerID"] = state["containerID"].replace("containerd", name)

    return pod_objects(edit)


def test_a_runtime_of_any_name_is_read() -> None:
    found = everything(scheme("isulad"))
    assert {f.verdict for n, f in found.items() if n not in ELSEWHERE} == {KEPT}
    wide = cpuset(good.HANDLER_CGROUP, ALL)
    assert judged("CPU-EXCLUSIVE", scheme("isulad"), wide).verdict is BROKEN


def test_nothing_of_a_container_whose_processes_are_nowhere_is_believed() -> None:
    """Below crun's scope only the inner cgroup tells; without its threads nobody knows which."""
    layout = [*crun(good.ROOT), without("/cgroup.threads")]
    assert judged("CPU-COUNT", *layout).verdict is UNSEEN
    assert judged("CPU-COUNT", *crun(good.ROOT)).verdict is KEPT


def owner(state: dict[str, Any]) -> list[Any]:
    """A neighbour that the kubelet gave 8-9, in some state; virt-handler is still there."""
    uid = "cafebabe-0000-4000-8000-000000000002"

    def edit(pods: list[Any]) -> None:
        amounts = {"cpu": "2", "memory": "64Mi"}
        own = {"name": "own", "resources": {"requests": amounts, "limits": amounts}}
        pods.append(
            {
                "metadata": {"namespace": "ns", "name": "neighbour", "uid": uid},
                "spec": {"nodeName": good.NODE, "containers": [own]},
                "status": {
                    "phase": "Pending",
                    "qosClass": "Guaranteed",
                    "containerStatuses": [{"name": "own", "restartCount": 0, "state": state}],
                },
            }
        )

    def gives(state: Any) -> None:
        state["entries"][uid] = {"own": "8-9"}
        state["defaultCpuSet"] = "0-1,5,10-11"

    return [pod_objects(edit), checkpoint(gives)]


def test_cpus_of_an_owner_that_has_not_started_are_being_cleared() -> None:
    """Nobody is disturbed as long as it lasts; that they are still there is told."""
    waits = {"waiting": {"reason": "ContainerCreating"}}
    finding = judged("CPU-POOL", *owner(waits))
    assert finding.verdict is KEPT
    assert any("may still run on 8-9" in note for note in finding.notes)


def test_cpus_of_an_owner_that_has_ended_disturb_nobody() -> None:
    """A real kubelet goes on to list them, and lets others in."""
    over = {"terminated": {"exitCode": 2, "finishedAt": "2026-08-01T09:00:00Z"}}
    assert judged("CPU-POOL", *owner(over)).verdict is KEPT
