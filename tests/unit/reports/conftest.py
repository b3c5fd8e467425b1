"""Report documents as runs really end: kept, broken, unclear, simulated, interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from reports.document import (
    Capability,
    Case,
    Claim,
    Cluster,
    Compared,
    Conclusion,
    Cpu,
    CpuMap,
    Document,
    Fault,
    Finding,
    Mark,
    Node,
    Outcome,
    OwnerKind,
    Problem,
    Requirement,
    Run,
    Selection,
    Setting,
    Software,
    Source,
    Standing,
    Timings,
    Verdict,
    count,
    worst,
)

REQUIREMENTS = {
    "ADM-ACCEPT": "A consistent VMI is admitted",
    "ADM-REFUSE": "An inconsistent VMI is refused for the right field",
    "RUN-STARTED": "An admitted VMI reaches Running",
    "QOS-POD": "The launcher pod is Guaranteed",
    "QOS-CONTAINERS": "Every container has equal requests and limits of CPU and memory",
    "QOS-INTEGER": "compute asks for whole CPUs",
    "CPU-COUNT": "compute owns as many pCPUs as it was promised",
    "CPU-EXCLUSIVE": "Nobody else runs on the pCPUs of compute",
    "CPU-RESERVED": "Reserved CPUs are never given away",
    "CPU-POOL": "All others are confined to the shared pool",
    "PIN-XML": "The domain pins every vCPU to one pCPU",
    "PIN-LIVE": "libvirt answers the pins that the domain asks for",
    "PIN-CGROUP": "The container's cgroup holds the pCPUs of every vCPU",
    "PIN-THREADS": "Every vCPU thread may run on exactly one pCPU, its own",
    "EMU-ISOLATED": "The emulator's threads keep off the vCPUs' pCPUs",
    "EMU-HOUSEKEEPING": "Housekeeping threads sit in a cgroup of their own",
    "SMT-SIBLINGS": "Guest siblings sit on host siblings",
    "GUEST-VCPUS": "The guest sees the vCPUs that it was given",
    "GUEST-TOPOLOGY": "The guest sees the topology that was asked for",
    "SIDE-UNPINNED": "Sidecars run in the shared pool",
    "NODE-LABEL": "The node's label tells whether its CPU manager is static",
    "LIFE-RELEASED": "Deleting a VMI gives its CPUs back",
}
FOLLOWS = {"PIN-CGROUP": ("PIN-XML",), "EMU-HOUSEKEEPING": ("EMU-ISOLATED",)}
IMPLEMENTATION = {"PIN-XML", "PIN-LIVE", "EMU-HOUSEKEEPING"}

ADMITTED = {
    "topology-1x2x1": ("two cores", 1, 2, 1, False),
    "topology-2x2x1": ("two sockets of two cores", 2, 2, 1, False),
    "topology-1x2x2": ("two cores of two threads", 1, 2, 2, False),
    "isolate-1x2x1": ("two cores and an emulator thread of its own", 1, 2, 1, True),
    "isolate-1x2x2": ("four threads and an emulator thread of its own", 1, 2, 2, True),
    "hook-sidecar": ("two cores with a hook sidecar", 1, 2, 1, False),
}
REFUSED = {
    "refused-fraction": ("requests 1500m", "spec.domain.resources.requests.cpu"),
    "refused-mismatch": ("limits differ from the topology", "spec.domain.resources.limits.cpu"),
    "refused-isolate-alone": ("isolateEmulatorThread alone", "spec.domain.cpu"),
}


def node(name: str, sockets: int = 2, cores: int = 3, threads: int = 2) -> Node:
    """A node whose CPU ids count threads first; NUMA nodes are the sockets."""
    cpus = []
    for number in range(sockets * cores * threads):
        core = number // threads
        siblings = tuple(range(core * threads, (core + 1) * threads))
        cpus.append(Cpu(number, core % cores, core // cores, core // cores, siblings))
    return Node(name, tuple(cpus), reserved=(0, 1))


def manifest(name: str, sockets: int, cores: int, threads: int, isolate: bool) -> dict[str, Any]:
    cpu = {
        "sockets": sockets,
        "cores": cores,
        "threads": threads,
        "dedicatedCpuPlacement": True,
        "isolateEmulatorThread": isolate,
    }
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name, "labels": {"purpose": "conformance"}},
        "spec": {"domain": {"cpu": cpu, "resources": {"limits": {"memory": "64Mi"}}}},
    }


def cpu_map(on: Node, case: str, vcpus: int, isolate: bool) -> CpuMap:
    """The case's VMI from pCPU 2 on, another dedicated VMI on the last two."""
    workload = f"vmi-{case}"
    last = on.cpus[-1].id
    owned = 2 + vcpus + isolate
    pins = [
        Claim(Source.LIBVIRT, OwnerKind.VCPU, str(2 + n), workload, "compute", n)
        for n in range(vcpus)
    ]
    if isolate:
        emulator = str(2 + vcpus)
        pins.append(Claim(Source.LIBVIRT, OwnerKind.EMULATOR, emulator, workload, "compute"))
    given = (
        Claim(Source.CHECKPOINT, OwnerKind.RESERVED, "0-1"),
        Claim(Source.CHECKPOINT, OwnerKind.SHARED, f"{owned}-{last - 2}"),
        Claim(Source.CHECKPOINT, OwnerKind.EXCLUSIVE, f"2-{owned - 1}", workload, "compute"),
        Claim(
            Source.CHECKPOINT, OwnerKind.EXCLUSIVE, f"{last - 1}-{last}", "vmi-neighbour", "compute"
        ),
    )
    return CpuMap(case, "running", workload, (*given, *pins))


def standing(findings: Sequence[Finding]) -> dict[str, Any]:
    """As a run whose requirements were all asked says it."""
    if not findings:
        return {"standing": Standing.NOT_ASKED, "why": "no case is about it"}
    said = {Verdict.PASS: "kept", Verdict.FAIL: "broken"}
    found = Standing(said.get(verdict := worst(findings), verdict.value))
    why = "it does not apply here" if found is Standing.NOT_APPLICABLE else ""
    return {"standing": found, "why": why}


def finish(document: Document, findings: tuple[Finding, ...]) -> Document:
    """Counts and verdicts that agree with the findings."""
    requirements = []
    for requirement in document.requirements:
        own = [f for f in findings if f.requirement == requirement.id]
        requirements.append(
            replace(requirement, counts=count(own), verdict=worst(own), **standing(own))
        )
    cases = tuple(
        replace(c, verdict=worst(f for f in findings if f.case == c.id)) for c in document.cases
    )
    return replace(
        document,
        findings=findings,
        counts=count(findings),
        requirements=tuple(requirements),
        cases=cases,
    )


def passing() -> Document:
    """Everything kept, on an embedded cluster of one node."""
    only = node("node-1")
    cases, findings, maps = [], [], []
    for case, (title, sockets, cores, threads, isolate) in ADMITTED.items():
        vcpus = sockets * cores * threads
        cases.append(
            Case(
                case,
                f"VMI with {title}",
                manifest(f"vmi-{case}", sockets, cores, threads, isolate),
                {
                    "admission": "admitted",
                    "vCPUs": str(vcpus),
                    "exclusive pCPUs": str(vcpus + isolate),
                    "guest topology": f"{sockets} x {cores} x {threads}",
                },
                "Running on node-1",
                Verdict.PASS,
                scenario="single-vmi",
            )
        )
        maps.append(cpu_map(only, case, vcpus, isolate))
        for requirement, sentence in REQUIREMENTS.items():
            verdict, message = Verdict.PASS, f"{sentence}."
            if requirement == "ADM-REFUSE":
                continue
            if requirement.startswith("EMU") and not isolate:
                verdict, message = Verdict.NOT_APPLICABLE, "isolateEmulatorThread is not asked for."
            if requirement == "SMT-SIBLINGS" and threads == 1:
                verdict, message = Verdict.NOT_APPLICABLE, "The guest has one thread per core."
            if requirement == "SIDE-UNPINNED" and case != "hook-sidecar":
                verdict, message = Verdict.NOT_APPLICABLE, "The VMI has no sidecar."
            compared: tuple[Compared, ...] = ()
            if requirement == "CPU-COUNT":
                compared = (
                    Compared(
                        "exclusive pCPUs",
                        f"2-{1 + vcpus + isolate}",
                        "/var/lib/kubelet/cpu_manager_state",
                    ),
                    Compared("promised", str(vcpus + isolate), "the VMI's spec"),
                )
            findings.append(
                Finding(
                    requirement,
                    verdict,
                    message,
                    compared,
                    case,
                    "single-vmi",
                    "deleted" if requirement == "LIFE-RELEASED" else "running",
                    "node-1",
                    f"evidence/{case}/running.json",
                )
            )
    for case, (title, field) in REFUSED.items():
        expectation = {"admission": f"refused for {field}"}
        cases.append(
            Case(
                case,
                f"VMI whose {title}",
                manifest(f"vmi-{case}", 1, 2, 1, isolate=False),
                expectation,
                f"refused (422): {field}",
                Verdict.PASS,
                scenario="single-vmi",
            )
        )
        findings.append(
            Finding(
                "ADM-REFUSE",
                Verdict.PASS,
                f"Refused with a cause for {field}.",
                (Compared("field of the cause", field, "Status.details.causes"),),
                case,
                "single-vmi",
                "refused",
                evidence=f"evidence/{case}/refused.json",
            )
        )
    requirements = tuple(
        Requirement(
            name,
            title,
            f"{title[0].upper()}{title[1:]}: the cluster MUST hold this for every dedicated VMI.",
            "MUST",
            "implementation" if name in IMPLEMENTATION else "contract",
            ("dedicated CPU placement, section 2", "isolating the emulator thread, section 1"),
            Verdict.PASS,
            count(()),
            Standing.KEPT,
            follows=FOLLOWS.get(name, ()),
            unseen_without=() if name == "RUN-STARTED" else ("RUN-STARTED",),
        )
        for name, title in REQUIREMENTS.items()
    )
    document = Document(
        run=Run(
            "20260301-021407-3f9a",
            "0.1.0",
            "2026-03-01T02:14:07Z",
            "2026-03-01T02:17:55Z",
            228.4,
            "conform run --cluster embedded",
            "0.1.0",
        ),
        cluster=Cluster(
            provider="embedded",
            stack="the reference stack",
            simulation=False,
            nodes={"node-1": "2x3x2 (2 NUMA), static, reserved 0-1"},
            acceleration="TCG, AMD-V emulated",
        ),
        profile="v1",
        matrix="smoke",
        conclusion=Conclusion(
            Outcome.CONFORMANT, "Every mandatory requirement was observed and kept.", 0
        ),
        counts=count(()),
        requirements=requirements,
        cases=tuple(cases),
        findings=(),
        nodes=(replace(only, maps=tuple(maps)),),
        capabilities=(
            Capability("smt", present=True, reason="cores of node-1 have 2 threads"),
            Capability("numa", present=True, reason="node-1 has 2 NUMA nodes"),
            Capability("cgroup-v1", present=False, reason="node-1 mounts cgroup v2 only"),
        ),
        timings=Timings(
            {"up": 61.2, "cases": 151.9, "judge": 0.4, "down": 3.1},
            {case.id: 20.0 + 3.7 * number for number, case in enumerate(cases)},
        ),
        setting=Setting(
            kubernetes="v1.36.2",
            kubevirt="v1.9.0",
            served=("v1", "v1alpha3"),
            gates=("AlignCPUs", "CPUManager"),
            support={"sidecar": "50m CPU and 33554432 bytes"},
            nodes={
                "node-1": Software("v1.36.2", "containerd://2.1.4", "6.12.0", "Debian 13", "amd64")
            },
            libvirt=("libvirt 10.5.0, QEMU 9.0.0, machine type pc-q35-9.0",),
            unread={"served": "GET /apis/kubevirt.io: 403 Forbidden"},
        ),
        selection=Selection(shape="default"),
    )
    return finish(document, tuple(findings))


def _colliding(right: CpuMap) -> CpuMap:
    emulator = Claim(Source.AFFINITY, OwnerKind.EMULATOR, "4", right.workload, "compute")
    mark = Mark("4", f"the emulator of {right.workload} and vCPU 2 of {right.workload} share it")
    return replace(right, claims=(*right.claims, emulator), marks=(mark,))


def failing() -> Document:
    """One vCPU runs where it must not, and the emulator beside a vCPU; one known divergence."""
    document = passing()
    broken = {
        ("PIN-THREADS", "topology-2x2x1"): (
            Verdict.FAIL,
            "vCPU 1 of vmi-topology-2x2x1 may run on pCPUs 3,7 but must run on pCPU 3 alone.",
            (
                Compared(
                    "vCPU 1, thread 1844 (CPU 1/KVM)",
                    "3,7",
                    "/proc/1790/task/1844/status Cpus_allowed_list",
                ),
                Compared("vCPU 1 by vcpupin", "3", "libvirt virDomainGetVcpuPinInfo"),
                Compared("compute", "2-5", "cpuset.cpus.effective of cri-3f9a0c.scope"),
            ),
        ),
        ("EMU-ISOLATED", "isolate-1x2x2"): (
            Verdict.FAIL,
            "The emulator of vmi-isolate-1x2x2 may run on pCPU 4, which belongs to vCPU 2.",
            (
                Compared("emulator", "4", "libvirt virDomainGetEmulatorPinInfo"),
                Compared("vCPUs", "2-5", "domain XML cputune/vcpupin"),
                Compared("both", "4", "intersection of the two"),
            ),
        ),
        ("SMT-SIBLINGS", "topology-1x2x2"): (
            Verdict.KNOWN_DIVERGENCE,
            "Guest siblings 0,1 sit on pCPUs 2,4, which are not siblings on the host.",
            (Compared("guest siblings", "0,1", "lscpu in the guest"),),
        ),
    }
    findings = []
    for finding in document.findings:
        same = finding.verdict, finding.message, finding.compared
        verdict, message, compared = broken.get((finding.requirement, finding.case), same)
        findings.append(replace(finding, verdict=verdict, message=message, compared=compared))
    (only,) = document.nodes
    maps = tuple(_colliding(m) if m.case == "isolate-1x2x2" else m for m in only.maps)
    document = replace(document, nodes=(replace(only, maps=maps),))
    conclusion = Conclusion(
        Outcome.NOT_CONFORMANT,
        "2 mandatory requirements were broken: PIN-THREADS and EMU-ISOLATED.",
        1,
    )
    return finish(replace(document, conclusion=conclusion), tuple(findings))


def inconclusive() -> Document:
    """The node died in the middle: half of the cases were never observed."""
    document = passing()
    lost = {"isolate-1x2x2", "hook-sidecar"}
    findings = tuple(
        replace(
            f,
            verdict=Verdict.NOT_OBSERVED,
            message="Not observed: node-1 died before it was read.",
            compared=(),
        )
        if f.case in lost and f.verdict is Verdict.PASS
        else f
        for f in document.findings
    )
    return finish(
        replace(
            document,
            conclusion=Conclusion(
                Outcome.INCONCLUSIVE, "node-1 died and 2 cases were not observed.", 2
            ),
            problems=(
                Problem(
                    "running isolate-1x2x2", "node-1 died: QEMU exited with 137.", "", "node-1"
                ),
                Problem("cleanup", "The namespace conformance-3f9a could not be deleted.", "", ""),
            ),
            faults=(Fault("GET /api/v1/pods: 500 etcd is not in the mood", 3),),
        ),
        findings,
    )


def simulated() -> Document:
    """A kept run on two simulated nodes, one without SMT."""
    document = passing()
    second = node("node-2", sockets=1, cores=4, threads=1)
    maps = (cpu_map(second, "topology-1x2x1", 2, isolate=False),)
    return replace(
        document,
        cluster=Cluster(
            "simulated",
            "the reference stack",
            True,
            {"node-1": "2x3x2 (2 NUMA), static", "node-2": "1x4x1 (1 NUMA), static"},
        ),
        nodes=(*document.nodes, replace(second, maps=maps)),
    )


def interrupted() -> Document:
    """Stopped before anything was seen."""
    document = passing()
    conclusion = Conclusion(Outcome.INTERRUPTED, "Interrupted by SIGINT before any case.", 130)
    return finish(replace(document, conclusion=conclusion, cases=(), nodes=()), ())


def hostile() -> Document:
    """Text that would be markup, control characters and other alphabets where text may stand."""
    nasty = (
        "- <script>alert('x')</script> & \"quoted\" | [bold](javascript:x)*_`\x1b[31m\x00"
        "\nzwölf ]]> \x1b]8;;https://evil.example\x07\x9b2J\u202e\u2066\u2028\u200b\ufeff\ud800\ufffe"
        " https://evil.example/ www.evil.example @somebody {{ 7 * 7 }}"
    )
    document = failing()
    first, *rest = document.findings
    finding = replace(
        first,
        verdict=Verdict.FAIL,
        message=nasty,
        compared=(Compared(nasty, nasty, nasty),),
        moment=nasty,
        notes=(nasty,),
    )
    case = replace(
        document.cases[0],
        title=nasty,
        outcome=nasty,
        expectation={nasty: nasty},
        manifest={nasty: [nasty]},
    )
    return finish(
        replace(
            document,
            conclusion=replace(document.conclusion, reason=nasty),
            cases=(case, *document.cases[1:]),
            problems=(Problem(nasty, nasty, nasty, nasty),),
            faults=(Fault(nasty, 1),),
            capabilities=(Capability(nasty, None, nasty),),
            profile=nasty,
            setting=Setting(
                kubernetes=nasty,
                kubevirt=nasty,
                served=(nasty,),
                gates=(nasty,),
                support={nasty: nasty},
                nodes={nasty: Software(nasty, nasty, nasty, nasty, nasty)},
                libvirt=(nasty,),
                unread={nasty: nasty},
                remarks=(nasty,),
            ),
            selection=Selection(nasty, (nasty,), nasty, 3),
            run=replace(document.run, command=nasty, tool_version=nasty),
            cluster=replace(document.cluster, stack=nasty, nodes={nasty: nasty}),
        ),
        (finding, *rest),
    )


EXAMPLES: Mapping[str, Callable[[], Document]] = {
    "passing": passing,
    "failing": failing,
    "inconclusive": inconclusive,
    "simulated": simulated,
    "interrupted": interrupted,
    "hostile": hostile,
}


@pytest.fixture(params=sorted(EXAMPLES))
def any_document(request: pytest.FixtureRequest) -> Document:
    return EXAMPLES[request.param]()


@pytest.fixture
def example() -> Callable[[str], Document]:
    return lambda name: EXAMPLES[name]()
