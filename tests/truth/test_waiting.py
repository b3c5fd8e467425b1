"""What has not come yet, or has not settled yet, breaks no promise; what was seen to fail does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conformance.collecting import bundle
from conformance.collecting.snapshot import NODES
from conformance.exits import Exit
from reports.document import Verdict
from tests.selfproof import recording as good
from tests.truth.changes import judged
from tests.truth.recordings import Recording
from tests.truth.snapshots import Shot, change, shots

CASE = "isolate-io"
KNOWN = Verdict.KNOWN_DIVERGENCE
GUEST = {
    *("EMU-HOUSEKEEPING", "EMU-ISOLATED", "GUEST-TOPOLOGY", "GUEST-VCPUS", "IOT-ISOLATED"),
    *("PIN-CGROUP", "PIN-LIVE", "PIN-THREADS", "PIN-XML"),
}
CHECKPOINT = "/var/lib/kubelet/cpu_manager_state"
SHARED_POD = "kubevirt"


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def findings(recording: Recording, case: str = CASE) -> dict[str, tuple[Verdict, str]]:
    """Verdict and message by requirement, of one case."""
    return {
        each.requirement: (each.verdict, each.message)
        for each in recording.judged().findings
        if each.case == case
    }


def starting(shot: Shot) -> None:
    """As while QEMU starts: everything is there, but its threads."""
    status = shot.data["vmi"]["status"]
    status["phase"] = "Scheduled"
    status["phaseTransitionTimestamps"] = status["phaseTransitionTimestamps"][:-1]
    shot.data["domain"] = shot.data["console"] = None
    shot.files = {
        path: text
        for path, text in shot.files.items()
        if "CPU " not in text or "/proc/" not in path
    }


def phase(now: str) -> Callable[[Shot], None]:
    """A VMI that came no further than this phase, and its pod with it."""

    def edit(shot: Shot) -> None:
        starting(shot)
        shot.data["vmi"]["status"]["phase"] = now
        for pod in shot.own if now == "Failed" else ():
            pod["status"]["phase"] = "Failed"

    return edit


def ended(name: str, code: int, reason: str = "Error") -> Callable[[Shot], None]:
    """A launcher whose container ended with an exit code."""

    def edit(shot: Shot) -> None:
        phase("Failed")(shot)
        for pod in shot.own:
            for status in pod["status"]["containerStatuses"]:
                if status["name"] == name:
                    status["state"] = {"terminated": {"exitCode": code, "reason": reason}}

    return edit


def panicked(words: str) -> Callable[[Shot], None]:
    """A launcher that ended with these last words."""

    def edit(shot: Shot) -> None:
        ended("compute", 2)(shot)
        for pod in shot.own:
            for status in pod["status"]["containerStatuses"]:
                if status["name"] == "compute":
                    status["state"]["terminated"]["message"] = words

    return edit


def pod_failed(reason: str, message: str) -> Callable[[Shot], None]:
    """A pod that its node, or somebody else, has ended."""

    def edit(shot: Shot) -> None:
        phase("Failed")(shot)
        for pod in shot.own:
            pod["status"] |= {"reason": reason, "message": message}

    return edit


def test_c13_a_vmi_that_still_starts_is_not_observed(recording: Recording) -> None:
    change(recording, starting, CASE)
    seen = findings(recording)
    assert not [each for each, (verdict, _) in seen.items() if verdict is Verdict.FAIL]
    assert {each for each in GUEST if seen[each][0] is Verdict.NOT_OBSERVED} == GUEST
    verdict, message = seen["RUN-STARTED"]
    assert verdict is Verdict.NOT_OBSERVED
    assert "VMI isolate-io is Scheduled, still starting" in message
    assert "what moved last: " in message
    assert "at 2026-11-25T14:0" in message
    assert recording.judged().conclusion.exit_code == Exit.INCONCLUSIVE


@pytest.mark.parametrize(
    "failing",
    [
        phase("Failed"),
        ended("compute", 1),
        pod_failed("UnexpectedAdmissionError", "Allocate failed due to not enough cpus available"),
    ],
    ids=["phase", "exit-code", "cpu-manager"],
)
def test_c13_twin_a_vmi_that_was_seen_to_fail_is_broken(
    recording: Recording, failing: Callable[[Shot], None]
) -> None:
    change(recording, failing, CASE)
    assert findings(recording)["RUN-STARTED"][0] is Verdict.FAIL
    assert recording.judged().conclusion.exit_code == Exit.NOT_CONFORMANT


def test_c13_twin_a_guest_that_runs_without_vcpu_threads_is_broken(recording: Recording) -> None:
    def lose(shot: Shot) -> None:
        shot.files = {
            path: text.replace("CPU 0/KVM", "other").replace("CPU 0/TCG", "other")
            for path, text in shot.files.items()
        }

    change(recording, lose, "limits-2")
    assert "PIN-THREADS" in recording.failed() | recording.by_verdict(Verdict.NOT_OBSERVED)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Evicted", "The node was low on resource: memory."),
        ("Preempting", "Preempted in order to admit critical pod"),
        ("NodeShutdown", "Pod was rejected: node is shutting down"),
        ("OutOfcpu", "Node didn't have enough resource: cpu, requested: 3000, used: 11000"),
        ("UnexpectedAdmissionError", "no healthy devices present: devices.kubevirt.io/kvm"),
        ("TopologyAffinityError", "Resources cannot be allocated with Topology locality"),
    ],
)
def test_what_others_end_is_not_observed(recording: Recording, reason: str, message: str) -> None:
    change(recording, pod_failed(reason, message), CASE)
    verdict, words = findings(recording)["RUN-STARTED"]
    assert verdict is Verdict.NOT_OBSERVED
    assert message in words


def beside(name: str, state: Any, kind: str = "initContainers") -> Callable[[Shot], None]:
    """A launcher into which a webhook has put one more container, which is in a state."""

    def edit(shot: Shot) -> None:
        for pod in shot.own:
            pod["spec"].setdefault(kind, []).append({"name": name, "image": "i", "resources": {}})
            states = pod["status"].setdefault(f"{kind.removesuffix('s')}Statuses", [])
            states.append({"name": name, "restartCount": 3, **state})

    return edit


CRASHES = {
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 255, "reason": "Error"}},
}
ENDED = {"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}


@pytest.mark.parametrize(
    ("coming", "other"),
    [
        (starting, beside("istio-init", CRASHES)),
        (phase("Failed"), beside("vault-agent-init", ENDED)),
        (starting, beside("istio-proxy", ENDED, "containers")),
    ],
    ids=["service-mesh", "agent", "proxy"],
)
def test_a_container_of_somebody_else_that_fails_is_not_observed(
    recording: Recording, coming: Callable[[Shot], None], other: Callable[[Shot], None]
) -> None:
    change(recording, coming, CASE)
    change(recording, other, CASE)
    verdict, words = findings(recording)["RUN-STARTED"]
    assert verdict is Verdict.NOT_OBSERVED
    assert "none of KubeVirt's containers" in words


def test_twin_one_of_kubevirts_own_beside_it_is_broken(recording: Recording) -> None:
    change(recording, ended("compute", 1), CASE)
    change(recording, beside("istio-init", CRASHES), CASE)
    assert findings(recording)["RUN-STARTED"][0] is Verdict.FAIL


def test_twin_a_sidecar_that_kubevirt_made_is_broken(recording: Recording) -> None:
    change(recording, starting, CASE)
    change(recording, beside("hook-sidecar-0", CRASHES, "containers"), CASE)
    assert findings(recording)["RUN-STARTED"][0] is Verdict.FAIL


def test_what_ran_out_of_memory_is_not_observed(recording: Recording) -> None:
    change(recording, ended("compute", 137, "OOMKilled"), CASE)
    verdict, words = findings(recording)["RUN-STARTED"]
    assert verdict is Verdict.NOT_OBSERVED
    assert "ended with 137 (OOMKilled)" in words


@pytest.mark.parametrize(
    ("words", "fails"),
    [
        ("panic: failed to connect to virtqemud: context deadline exceeded", False),
        (f"qemu: Cannot allocate memory\n{'its launcher goes on to say so' * 30}", False),
        ("panic: runtime error: index out of range [4] with length 4", True),
    ],
)
def test_a_launcher_that_gave_up_by_the_clock_is_not_observed(
    recording: Recording, words: str, *, fails: bool
) -> None:
    """A real launcher gives its libvirt ten seconds, which a busy node may not have."""
    change(recording, panicked(words), CASE)
    verdict, said = findings(recording)["RUN-STARTED"]
    assert verdict is (Verdict.FAIL if fails else Verdict.NOT_OBSERVED)
    assert words in said


def by_the_clock(*events: str) -> Callable[[Shot], None]:
    """A VMI that failed while virt-handler had no answer of its launcher, and what was said before.

    Seen of a real 1.8.4: the call that started the domain took longer than virt-handler waits.
    """

    def edit(shot: Shot) -> None:
        phase("Failed")(shot)
        shot.data["vmi"]["status"]["conditions"] = [
            {
                "type": "Synchronized",
                "status": "False",
                "reason": "Synchronizing with the Domain failed.",
                "message": "unable to create virt-launcher client connection: "
                "context deadline exceeded",
            }
        ]
        for message in events:
            about = {"kind": "VirtualMachineInstance", "name": CASE}
            event = {"involvedObject": about, "reason": "SyncFailed", "message": message}
            shot.data["events"].append({**event, "lastTimestamp": "2027-01-01T00:00:00Z"})

    return edit


UNANSWERED = (
    "unknown error encountered sending command SyncVMI: rpc error: code = DeadlineExceeded "
    "desc = context deadline exceeded"
)
ANSWERED = 'server error. command SyncVMI failed: "LibvirtError(Code=1)"'


@pytest.mark.parametrize(
    ("said", "verdict"),
    [((UNANSWERED,), Verdict.NOT_OBSERVED), ((UNANSWERED, ANSWERED), Verdict.FAIL)],
    ids=["unanswered", "twin-answered"],
)
def test_a_launcher_whose_answer_nobody_waited_for_is_not_observed(
    recording: Recording, said: tuple[str, ...], verdict: Verdict
) -> None:
    change(recording, by_the_clock(*said), CASE)
    assert findings(recording)["RUN-STARTED"][0] is verdict


@pytest.mark.parametrize(
    ("code", "said", "verdict"),
    [
        (0, (UNANSWERED,), Verdict.NOT_OBSERVED),
        (137, (UNANSWERED,), Verdict.NOT_OBSERVED),
        (143, (UNANSWERED,), Verdict.NOT_OBSERVED),
        (137, (), Verdict.FAIL),
        (2, (UNANSWERED,), Verdict.FAIL),
        (137, (UNANSWERED, ANSWERED), Verdict.FAIL),
    ],
)
def test_events_alone_may_tell_that_nobody_waited(
    recording: Recording, code: int, said: tuple[str, ...], verdict: Verdict
) -> None:
    """The condition has gone with the launcher, which was told to end, or was killed."""

    def edit(shot: Shot) -> None:
        if code:
            ended("compute", code, "Error")(shot)
        by_the_clock(*said)(shot)
        shot.data["vmi"]["status"]["conditions"] = [
            {"type": "Ready", "status": "False", "reason": "PodTerminating"}
        ]

    change(recording, edit, CASE)
    assert findings(recording)["RUN-STARTED"][0] is verdict


def test_twin_a_panic_is_a_failure_although_virt_handler_had_no_answer(
    recording: Recording,
) -> None:
    def edit(shot: Shot) -> None:
        panicked("panic: runtime error: index out of range [4] with length 4")(shot)
        shot.data["vmi"]["status"]["conditions"] = [
            {"type": "Synchronized", "status": "False", "message": UNANSWERED}
        ]

    change(recording, edit, CASE)
    assert findings(recording)["RUN-STARTED"][0] is Verdict.FAIL


@pytest.mark.parametrize(
    ("release", "isolated", "words", "verdict"),
    [
        (
            "v1.8.4",
            False,
            "slice bounds out of range [:32] with capacity 8",
            Verdict.KNOWN_DIVERGENCE,
        ),
        ("v1.7.4", False, "index out of range [4] with length 4", KNOWN),
        ("v1.9.0", False, "slice bounds out of range [:32] with capacity 8", Verdict.FAIL),
        ("v1.8.4", True, "slice bounds out of range [:32] with capacity 8", Verdict.FAIL),
        ("v1.8.4", False, "invalid memory address or nil pointer dereference", Verdict.FAIL),
    ],
)
def test_a_panic_over_iothreads_is_known_of_the_releases_that_have_it(
    recording: Recording, release: str, isolated: bool, words: str, verdict: Verdict
) -> None:
    recording.kubevirt(release)
    run = recording.run
    cpu = next(each for each in run["cases"] if each["id"] == CASE)["manifest"]["spec"]["domain"]
    cpu["cpu"]["isolateEmulatorThread"] = isolated
    (recording.directory / "run.json").write_text(json.dumps(run))
    change(recording, panicked(f"panic: runtime error: {words}"), CASE)
    seen = findings(recording)
    assert seen["RUN-STARTED"][0] is verdict
    # What is known is told once; a guest that should run and does not leaves the rest open.
    rest = Verdict.NOT_APPLICABLE if verdict is KNOWN else Verdict.NOT_OBSERVED
    assert {seen[each][0] for each in ("PIN-XML", "PIN-THREADS", "GUEST-VCPUS")} == {rest}


@pytest.mark.parametrize(
    ("release", "policy", "verdict"),
    [
        ("v1.8.4", "supplementalPool", KNOWN),
        ("v1.9.0", "supplementalPool", Verdict.FAIL),
        ("v1.8.4", "shared", Verdict.FAIL),
    ],
)
def test_a_pool_that_is_pinned_elsewhere_is_known_of_the_releases_that_do_so(
    recording: Recording, release: str, policy: str, verdict: Verdict
) -> None:
    """Seen of a real 1.8.4: the domain does not start, and the launcher ends without an error."""

    def edit(shot: Shot) -> None:
        phase("Failed")(shot)
        shot.data["events"].append(
            {
                "involvedObject": {"kind": "VirtualMachineInstance", "name": "isolate-io"},
                "reason": "SyncFailed",
                "message": 'server error. command SyncVMI failed: "LibvirtError(Code=38, Domain=0, '
                "Message='cannot set CPU affinity on process 77: Invalid argument')\"",
            }
        )

    recording.kubevirt(release)
    run = recording.run
    domain = next(each for each in run["cases"] if each["id"] == CASE)["manifest"]["spec"]["domain"]
    domain["ioThreadsPolicy"] = policy
    if policy == "supplementalPool":
        domain["ioThreads"] = {"supplementalPoolThreadCount": 1}
    (recording.directory / "run.json").write_text(json.dumps(run))
    change(recording, edit, CASE)
    assert findings(recording)["RUN-STARTED"][0] is verdict


def test_a_vmi_that_somebody_deletes_is_not_observed(recording: Recording) -> None:
    def delete(shot: Shot) -> None:
        phase("Failed")(shot)
        shot.data["vmi"]["metadata"]["deletionTimestamp"] = "2026-11-25T14:05:30Z"

    change(recording, delete, CASE)
    assert findings(recording)["RUN-STARTED"][0] is Verdict.NOT_OBSERVED


def unschedulable(shot: Shot) -> None:
    """No node has room: the pod has none, and the VMI says why."""
    why = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    status = shot.data["vmi"]["status"]
    status |= {"phase": "Scheduling", "conditions": [why]}
    status.pop("nodeName")
    pod = shot.data["pod"]
    pod["spec"].pop("nodeName")
    pod["status"] = {"phase": "Pending", "conditions": [why], "qosClass": "Guaranteed"}
    own = pod["metadata"]["uid"]
    shot.pods = [each for each in shot.pods if each["metadata"]["uid"] != own]
    shot.data |= {"node": None, "domain": None, "console": None}
    shot.files = {}


def test_c14_a_vmi_that_no_node_has_room_for_is_not_observed(recording: Recording) -> None:
    change(recording, unschedulable, CASE)
    verdict, message = findings(recording)["RUN-STARTED"]
    assert verdict is Verdict.NOT_OBSERVED
    assert "Insufficient cpu" in message
    assert not recording.failed()


def at(shot: Shot) -> datetime:
    return datetime.fromisoformat(shot.data["began"])


def stays_on(shot: Shot, cpus: str) -> None:
    """Lets the containers of virt-controller run where they always ran."""
    (pod,) = (each for each in shot.pods if each["metadata"]["name"].startswith("virt-controller"))
    (status,) = pod["status"]["containerStatuses"]
    id_ = status["containerID"].partition("://")[2]
    for path in list(shot.files):
        if id_ in path and path.endswith("/cpuset.cpus.effective"):
            shot.files[path] = f"{cpus}\n"


def started(shot: Shot, seconds: float) -> None:
    """Every exclusive container was started so many seconds before the look."""
    entries = json.loads(shot.files[CHECKPOINT])["entries"]
    when = (at(shot) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for pod in [*shot.pods, *shot.own]:
        if pod["metadata"]["uid"] in entries:
            for status in pod["status"]["containerStatuses"]:
                status["state"] = {"running": {"startedAt": when}}


SETTLES = {"CPU-EXCLUSIVE", "CPU-POOL"}


@pytest.mark.parametrize("seconds", [1, 5, 10, 25])
def test_c16_what_has_just_started_may_not_have_settled(
    recording: Recording, seconds: float
) -> None:
    def edit(shot: Shot) -> None:
        stays_on(shot, "0-11")
        started(shot, seconds)

    change(recording, edit, CASE)
    seen = findings(recording)
    assert {each for each in SETTLES if seen[each][0] is Verdict.NOT_OBSERVED} == SETTLES
    assert "the kubelet's reconcile" in seen["CPU-POOL"][1]


@pytest.mark.parametrize("seconds", [40, 600])
def test_c16_twin_what_outlives_the_reconcile_is_broken(
    recording: Recording, seconds: float
) -> None:
    def edit(shot: Shot) -> None:
        stays_on(shot, "0-11")
        started(shot, seconds)

    change(recording, edit, CASE)
    assert recording.failed() >= SETTLES


@pytest.mark.parametrize(("apart", "fails"), [(12, False), (35, True)])
def test_c16_twin_two_looks_show_what_one_cannot(
    recording: Recording, apart: int, fails: bool
) -> None:
    (shot,) = shots(recording, CASE)
    stays_on(shot, "0-11")
    started(shot, 2)
    shot.save()
    shot.data["began"] = (at(shot) + timedelta(seconds=apart)).isoformat(timespec="milliseconds")
    shot.save(f"{CASE}.running.202611251409000000000.json")
    # The start is as it was; only the look is later.
    assert SETTLES & recording.failed() == (SETTLES if fails else set())


def resized(condition: str) -> Callable[[Shot], None]:
    """The kubelet has given compute one more CPU, and its cgroup has not got it."""

    def edit(shot: Shot) -> None:
        state = json.loads(shot.files[CHECKPOINT])
        entry = state["entries"][shot.own[0]["metadata"]["uid"]]
        entry["compute"] += ",10"
        state["defaultCpuSet"] = state["defaultCpuSet"].replace("10-11", "11")
        shot.files[CHECKPOINT] = json.dumps(state)
        for pod in shot.own if condition else ():
            pod["status"]["conditions"].append({"type": condition, "status": "True"})

    return edit


@pytest.mark.parametrize(
    ("condition", "verdict"), [("PodResizeInProgress", Verdict.NOT_OBSERVED), ("", Verdict.FAIL)]
)
def test_a_resize_in_place_may_have_begun_just_now(
    recording: Recording, condition: str, verdict: Verdict
) -> None:
    change(recording, resized(condition), CASE)
    seen = findings(recording)
    assert (seen["CPU-EXCLUSIVE"][0], seen["CPU-COUNT"][0]) == (verdict, verdict)


def test_a_kubelet_that_is_away_moves_nobody(recording: Recording) -> None:
    def edit(shot: Shot) -> None:
        stays_on(shot, "0-11")
        for condition in shot.data["node"]["status"]["conditions"]:
            if condition["type"] == "Ready":
                condition["status"] = "Unknown"

    change(recording, edit, CASE)
    assert findings(recording)["CPU-POOL"][0] is Verdict.NOT_OBSERVED


def by_itself(recording: Recording, edit: Callable[[Shot], None]) -> None:
    """Adds a look at the node of a case, as `Collector.labels` takes it."""
    run = recording.run
    run["moments"] = [*run["moments"], "nodes"]
    (recording.directory / "run.json").write_text(json.dumps(run))
    (shot,) = shots(recording, CASE)
    kept = ("config.yaml", "configz", "cpu_manager_state")
    shot.files = {path: text for path, text in shot.files.items() if path.endswith(kept)}
    shot.pods = []
    shot.data |= {
        **dict.fromkeys(("vmi", "pod", "domain", "console", "former"), None),
        "case": NODES,
        "scenario": NODES,
        "moment": "nodes",
        "manifest": {},
        "events": [],
    }
    shot.data["node"]["metadata"]["name"] = "node-2"
    edit(shot)
    shot.save(f"{NODES}.nodes.20261125140539441-node-2.json")


def without_manager(shot: Shot) -> None:
    """A node of policy none, which virt-handler labels false."""
    shot.files[CHECKPOINT] = '{"policyName":"none","defaultCpuSet":"","checksum":1}'
    shot.files = {
        path: text.replace("cpuManagerPolicy: static", "cpuManagerPolicy: none").replace(
            '"cpuManagerPolicy": "static"', '"cpuManagerPolicy": "none"'
        )
        for path, text in shot.files.items()
    }
    label(shot, "false")


def label(shot: Shot, value: str | None) -> None:
    labels = shot.data["node"]["metadata"]["labels"]
    for key in ("cpumanager", "kubevirt.io/cpumanager"):
        labels.pop(key, None)
        if value is not None:
            labels[key] = value


def lies(shot: Shot) -> None:
    without_manager(shot)
    label(shot, "true")


def hides(shot: Shot) -> None:
    """A static node that is not labelled."""
    label(shot, "false")


def unreadable(shot: Shot) -> None:
    """Nothing of the node can be read but the API's object of it."""
    shot.files = {}
    shot.data["not_observed"] = {"files": "there is no virt-handler pod on node node-2"}


def bare(shot: Shot) -> None:
    """A control plane on which KubeVirt is not."""
    unreadable(shot)
    label(shot, None)
    shot.data["node"]["metadata"]["annotations"].pop("kubevirt.io/heartbeat")


def unread_and_labelled(shot: Shot) -> None:
    unreadable(shot)


def just_restarted(shot: Shot) -> None:
    """The kubelet came to its policy after the last heartbeat."""
    lies(shot)
    for condition in shot.data["node"]["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["lastTransitionTime"] = "2026-11-25T14:05:00Z"


@pytest.mark.parametrize(
    ("edit", "verdict"),
    [
        (lambda _shot: None, Verdict.PASS),
        (without_manager, Verdict.PASS),
        (lies, Verdict.FAIL),
        (hides, Verdict.FAIL),
        (bare, Verdict.NOT_APPLICABLE),
        (unread_and_labelled, Verdict.NOT_OBSERVED),
        (just_restarted, Verdict.NOT_OBSERVED),
    ],
    ids=["static", "none", "lies", "hides", "bare", "unread", "restarted"],
)
def test_c18_every_node_is_judged_whoever_runs_there(
    recording: Recording, edit: Callable[[Shot], None], verdict: Verdict
) -> None:
    by_itself(recording, edit)
    document = recording.judged()
    (found,) = (each for each in document.findings if each.case == NODES)
    assert (found.requirement, found.node, found.verdict) == ("NODE-LABEL", "node-2", verdict)
    broken = document.conclusion.exit_code == Exit.NOT_CONFORMANT
    assert broken == (verdict is Verdict.FAIL)


def test_nodes_that_nobody_looked_at_are_not_observed(recording: Recording) -> None:
    run: dict[str, Any] = recording.run
    run["moments"] = [*run["moments"], "nodes"]
    bundle.write_run(recording.directory, run)
    (found,) = (each for each in recording.judged().findings if each.case == NODES)
    assert found.verdict is Verdict.NOT_OBSERVED


def test_c25_a_version_that_is_not_served_is_not_applicable(recording: Recording) -> None:
    setting = {**recording.run["setting"], "served": {"versions": [{"version": "v1alpha3"}]}}
    recording.use(setting)
    document = recording.judged()
    assert {each.verdict for each in document.findings} == {Verdict.NOT_APPLICABLE}
    assert "does not serve kubevirt.io/v1" in document.findings[0].message
    assert document.conclusion.exit_code == Exit.INCONCLUSIVE


def leaked(shot: Shot) -> None:
    """The checkpoint keeps what the pod had that is gone."""
    former = shot.data["former"]
    state = json.loads(shot.files[CHECKPOINT])
    state.setdefault("entries", {})[former["pod_uid"]] = {"compute": former["exclusive"]}
    shot.files[CHECKPOINT] = json.dumps(state)


@pytest.mark.parametrize(
    ("gone", "verdict"),
    [
        ("", Verdict.FAIL),  # former versions kept the last look alone, after they had waited
        ("still there", Verdict.NOT_OBSERVED),
        ("2026-11-25T14:06:20.000+00:00", Verdict.NOT_OBSERVED),
        ("2026-11-25T14:05:20.000+00:00", Verdict.FAIL),
    ],
)
def test_what_is_left_is_broken_once_the_kubelet_has_come_by(
    recording: Recording, gone: str, verdict: Verdict
) -> None:
    def edit(shot: Shot) -> None:
        leaked(shot)
        shot.data["gone"] = gone

    change(recording, edit, CASE, "deleted")
    assert findings(recording)["LIFE-RELEASED"][0] is verdict


@pytest.mark.parametrize(
    ("phase_of_pod", "cgroups", "verdict"),
    [
        ("Succeeded", ("",), Verdict.PASS),
        ("Failed", ("",), Verdict.PASS),
        ("Succeeded", ("", "/compute"), Verdict.FAIL),  # somebody may still run there
        ("Running", ("",), Verdict.FAIL),
        ("", ("",), Verdict.FAIL),  # the pod has gone, and nobody takes its cgroup apart
    ],
)
def test_a_pod_that_has_ended_has_no_cpus(
    phase_of_pod: str, cgroups: tuple[str, ...], verdict: Verdict
) -> None:
    """Seen of a real 1.8.4 whose volumes could not be taken apart for minutes."""
    raw = good.deleted()
    pod = good.launcher()
    pod["status"]["phase"] = phase_of_pod
    assert raw.former is not None
    below = {"": "", "/compute": f"/cri-containerd-{raw.former.container_ids[0]}.scope"}
    left = {f"{good.CGROUPS}{good.POD_SLICE}{below[each]}/cgroup.procs": "" for each in cgroups}
    raw = replace(raw, files={**raw.files, **left}, pod=pod if phase_of_pod else None)
    assert Verdict(judged("LIFE-RELEASED", raw=raw).verdict) is verdict
