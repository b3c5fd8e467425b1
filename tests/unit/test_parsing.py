"""Parsers: what they read, and that they quote what they do not know."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.model.cpuset import CpuSet
from conformance.model.evidence import RawDomain
from conformance.parsing import ParseError, cgroups, domain, guest, kubelet, kubernetes, proc
from conformance.parsing.cpulist import cpulist
from conformance.parsing.quantity import milli, quantity, whole
from conformance.parsing.topology import topology


class TestCpuLists:
    @given(st.sets(st.integers(0, 300), min_size=1))
    def test_what_is_written_is_read_again(self, cpus: set[int]) -> None:
        assert cpulist(str(CpuSet(cpus)) + "\n", "here") == CpuSet(cpus)

    def test_empty_list_is_the_empty_set(self) -> None:
        assert cpulist("\n", "here") == CpuSet()

    @pytest.mark.parametrize("text", ["a", "3-1", "1-", "-1", "1,,2", "0-6:2", "1 2"])
    def test_anything_else_is_quoted_with_its_source(self, text: str) -> None:
        with pytest.raises(ParseError) as error:
            cpulist(text, "/sys/some/file")
        assert repr(text) in str(error.value)
        assert "/sys/some/file" in str(error.value)


class TestQuantities:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("2", 2),
            (3, 3),
            ("1500m", Fraction(3, 2)),
            ("0.5", Fraction(1, 2)),
            ("64M", 64_000_000),
            ("556Mi", 556 * 1024**2),
            ("1e3", 1000),
            ("12E-1", Fraction(6, 5)),
            ("1E", 10**18),
            ("100n", Fraction(1, 10**7)),
            (".5", Fraction(1, 2)),
        ],
    )
    def test_value_is_exact(self, text: object, value: Fraction) -> None:
        assert quantity(text, "limits.cpu") == value

    def test_fractions_round_up(self) -> None:
        assert milli("100u", "cpu") == 1
        assert whole("1500m", "memory") == 2

    @pytest.mark.parametrize(
        "text", ["", "two", "1.5.0", "1 Gi", "1KiB", "5k5", True, None, "1e99999999"]
    )
    def test_anything_else_is_quoted(self, text: object) -> None:
        with pytest.raises(ParseError, match="quantity"):
            quantity(text, "limits.cpu")


def sysfs(**changes: str) -> dict[str, str]:
    """Four CPUs: two cores of two threads on two NUMA nodes."""
    root = "/sys/devices/system"
    files = {f"{root}/cpu/online": "0-3\n"}
    for cpu in range(4):
        core = f"{root}/cpu/cpu{cpu}/topology"
        files[f"{core}/core_id"] = f"{cpu // 2}\n"
        files[f"{core}/physical_package_id"] = "0\n"
        files[f"{core}/thread_siblings_list"] = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}\n"
    files |= {f"{root}/node/node{n}/cpulist": f"{2 * n}-{2 * n + 1}\n" for n in range(2)}
    return files | {f"{root}/{path}": text for path, text in changes.items()}


class TestTopology:
    def test_reads_cores_sockets_and_numa_nodes(self) -> None:
        found = topology(sysfs())
        assert found.cores == {CpuSet({0, 1}), CpuSet({2, 3})}
        assert found.numa_nodes == {0: CpuSet({0, 1}), 1: CpuSet({2, 3})}
        assert found.threads_per_core == 2

    def test_offline_cpu_is_not_there(self) -> None:
        found = topology(sysfs(**{"cpu/online": "0-2", "node/node1/cpulist": "2"}))
        assert found.online == CpuSet({0, 1, 2})
        assert found.by_id[2].siblings == CpuSet({2})

    def test_kernel_without_numa_has_node_zero(self) -> None:
        files = {path: text for path, text in sysfs().items() if "/node/" not in path}
        assert set(topology(files).numa_nodes) == {0}

    @pytest.mark.parametrize(
        ("path", "text", "says"),
        [
            ("cpu/online", "", "at least one online CPU"),
            ("cpu/cpu1/topology/core_id", "x", "a number"),
            ("cpu/cpu1/topology/thread_siblings_list", "2-3", "among its own siblings"),
            ("node/node1/cpulist", "1-3", "one NUMA node only"),
            ("node/node1/cpulist", "2", "in the cpulist of a NUMA node"),
        ],
    )
    def test_contradiction_is_refused(self, path: str, text: str, says: str) -> None:
        with pytest.raises(ParseError, match=says):
            topology(sysfs(**{path: text}))

    def test_missing_file_is_named(self) -> None:
        files = sysfs()
        del files["/sys/devices/system/cpu/cpu3/topology/core_id"]
        with pytest.raises(ParseError, match="cpu3/topology/core_id"):
            topology(files)


STATUS = """Name:\tCPU 0/KVM
Umask:\t0022
State:\tS (sleeping)
Tgid:\t150
Pid:\t154
PPid:\t1
NSpid:\t154\t84
Threads:\t8
Cpus_allowed:\t004
Cpus_allowed_list:\t2
Mems_allowed_list:\t0-1
"""


class TestThreads:
    def test_reads_what_is_judged(self) -> None:
        found = proc.status(STATUS, "/proc/150/task/154/status")
        assert (found.name, found.pid, found.tid) == ("CPU 0/KVM", 150, 154)
        assert (found.affinity, found.parent, found.inner_pid) == (CpuSet({2}), 1, 84)

    def test_excerpt_says_the_same(self) -> None:
        short = proc.excerpt(STATUS)
        assert len(short) < len(STATUS) / 1.5
        assert proc.status(short, "here") == proc.status(STATUS, "here")

    @pytest.mark.parametrize("lost", ["Name", "Tgid", "Pid", "Cpus_allowed_list"])
    def test_missing_line_is_named(self, lost: str) -> None:
        text = "\n".join(x for x in STATUS.splitlines() if not x.startswith(f"{lost}:"))
        with pytest.raises(ParseError, match=rf"the lines {lost}"):
            proc.status(text, "/proc/1/task/1/status")

    def test_empty_affinity_is_no_affinity(self) -> None:
        with pytest.raises(ParseError, match="may run somewhere"):
            proc.status(STATUS.replace("list:\t2", "list:\t"), "here")


class TestQemu:
    """What is read of QEMU alone."""

    STAT = "154 (CPU 0/KVM) odd) S 1 " + " ".join(["0"] * 34) + " 2 1 1 0 0 0\n"
    MAPS = (
        "7f00 bind:0 file=/memfd:ram\\040(deleted) huge dirty=4 N0=4 kernelpagesize_kB=2048\n"
        "7f01 bind:1 file=/memfd:ram huge dirty=3 N0=1 N1=2 kernelpagesize_kB=2048\n"
        "7f02 default anon=9 N1=9 kernelpagesize_kB=4\n"
    )

    def test_policy_and_priority_follow_a_name_that_may_be_anything(self) -> None:
        assert proc.scheduling(self.STAT, "here") == (1, 1)

    @pytest.mark.parametrize(
        "text", ["", "154 (CPU 0/KVM) S 1 0 0", STAT.replace(" 1 1 ", " x 1 ")]
    )
    def test_anything_else_is_no_scheduling(self, text: str) -> None:
        with pytest.raises(ParseError, match="the fields of a thread"):
            proc.scheduling(text, "/proc/154/stat")

    def test_huge_pages_are_added_up_by_node(self) -> None:
        size = 2 * 2**20
        assert proc.huge_pages(self.MAPS, "here") == {(0, size): 5 * size, (1, size): 2 * size}
        assert proc.huge_pages(proc.huge_lines(self.MAPS), "here") == proc.huge_pages(
            self.MAPS, "here"
        )

    def test_huge_pages_of_no_size_are_not_guessed(self) -> None:
        with pytest.raises(ParseError, match="the size of huge pages"):
            proc.huge_pages(self.MAPS.replace(" kernelpagesize_kB=2048", ""), "here")

    def test_memory_of_cells_has_a_unit(self) -> None:
        def xml(cell: str) -> str:
            return f"<domain type='kvm'><vcpu>1</vcpu><cpu><numa>{cell}</numa></cpu></domain>"

        for memory, unit, bytes_ in (("96", "unit='MiB'", 96 * 2**20), ("3", "", 3 * 2**10)):
            cell = f"<cell id='0' cpus='0' memory='{memory}' {unit}/>"
            assert domain.domain(xml(cell), "here").numa_memory == {0: bytes_}
        for wrong in ("memory='x'", "memory='1' unit='furlong'"):
            with pytest.raises(ParseError):
                domain.domain(xml(f"<cell id='0' cpus='0' {wrong}/>"), "here")


class TestKubelet:
    def test_checkpoint(self) -> None:
        text = (
            '{"policyName":"static","defaultCpuSet":"0-1,5-11",'
            '"entries":{"uid":{"compute":"2-4"}},"checksum":3454821}'
        )
        found = kubelet.checkpoint(text, "/var/lib/kubelet/cpu_manager_state")
        assert found.policy == "static"
        assert found.default == CpuSet.parse("0-1,5-11")
        assert found.entries == {("uid", "compute"): CpuSet.parse("2-4")}

    def test_checkpoint_of_policy_none(self) -> None:
        text = '{"policyName":"none","defaultCpuSet":"","checksum":1353318690}'
        assert kubelet.checkpoint(text, "here").entries == {}

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            '{"policyName":"static"}',
            '{"policyName":"static","defaultCpuSet":"0","entries":{"container-id":"1"}}',
            '{"policyName":"static","defaultCpuSet":"0","entries":{"u":{"c":"x"}}}',
            '{"policyName":"static","defaultCpuSet":"0","podEntries":{"u":"1"}}',
        ],
    )
    def test_checkpoint_of_another_form_is_refused(self, text: str) -> None:
        with pytest.raises(ParseError, match="cpu_manager_state"):
            kubelet.checkpoint(text, "/var/lib/kubelet/cpu_manager_state")

    def test_configuration_file_and_configz_say_the_same(self) -> None:
        file = (
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
            "cpuManagerPolicy: static\nreservedSystemCPUs: 0-1\n"
            'cpuManagerPolicyOptions: {full-pcpus-only: "true"}\n'
        )
        configz = {
            "kubeletconfig": {
                "cpuManagerPolicy": "static",
                "reservedSystemCPUs": "0-1",
                "cpuManagerPolicyOptions": {"full-pcpus-only": "true"},
            }
        }
        found = kubelet.kubelet(file, "config.yaml")
        assert (found.policy, found.reserved) == ("static", CpuSet({0, 1}))
        assert found.options == {"full-pcpus-only": "true"}
        other = kubelet.kubelet(json.dumps(configz), "config.yaml")
        assert found == other

    def test_unset_policy_is_none_and_no_reserved_set(self) -> None:
        found = kubelet.kubelet("kind: KubeletConfiguration\n", "config.yaml")
        assert (found.policy, found.reserved, found.topology_policy) == ("none", None, "none")

    @pytest.mark.parametrize("text", ["kind: Pod\n", "- a\n", "{", "kind: [", ""])
    def test_another_file_is_refused(self, text: str) -> None:
        with pytest.raises(ParseError, match=r"config\.yaml"):
            kubelet.kubelet(text, "config.yaml")


class TestPods:
    def test_container_ids_of_any_runtime(self) -> None:
        for text in ("containerd://abc", "cri-o://abc", "isulad://abc", "abc"):
            assert kubernetes.container_id(text) == "abc"

    def test_restartable_init_containers_are_told_apart(self) -> None:
        pod = kubernetes.pod(
            {
                "metadata": {"namespace": "ns", "name": "p", "uid": "u"},
                "spec": {
                    "initContainers": [{"name": "log", "restartPolicy": "Always"}, {"name": "i"}],
                    "containers": [{"name": "compute", "resources": {"limits": {"cpu": 2}}}],
                },
            }
        )
        assert [(c.name, c.role) for c in pod.containers] == [
            ("log", "restartable-init"),
            ("i", "init"),
            ("compute", "container"),
        ]
        assert pod.compute is not None
        assert pod.compute.limits.cpu_milli == 2000
        assert pod.compute.requests.cpu_milli is None

    def test_reason_tells_scheduling_and_waiting(self) -> None:
        pod = kubernetes.pod(
            {
                "metadata": {"namespace": "ns", "name": "p", "uid": "u"},
                "spec": {"containers": [{"name": "compute"}]},
                "status": {
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "Insufficient cpu",
                        }
                    ],
                    "containerStatuses": [
                        {"name": "compute", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
                    ],
                },
            }
        )
        assert "Insufficient cpu" in str(pod.reason)
        assert "compute waits: ImagePullBackOff" in str(pod.reason)

    def test_refusal(self) -> None:
        found = kubernetes.rejection(
            {
                "kind": "Status",
                "code": 422,
                "reason": "Invalid",
                "message": "no",
                "details": {"causes": [{"field": "spec.a", "message": "b"}]},
            }
        )
        assert (found.code, found.causes) == (422, (("spec.a", "b"),))

    def test_answer_without_a_code_is_no_refusal(self) -> None:
        with pytest.raises(ParseError):
            kubernetes.rejection({"kind": "VirtualMachineInstance"})


DOMAIN = """<domain type='kvm'><name>ns_vm</name><vcpu current='2'>8</vcpu>
<iothreads>1</iothreads><cputune><vcpupin vcpu='0' cpuset='2'/><vcpupin vcpu='1' cpuset='3'/>
<emulatorpin cpuset='4'/><iothreadpin iothread='1' cpuset='4'/></cputune>
<cpu><topology sockets='8' cores='1' threads='1'/>
<numa><cell id='0' cpus='0' memory='1'/><cell id='1' cpus='1' memory='1'/></numa></cpu></domain>"""


class TestDomains:
    def test_reads_pins_and_topology(self) -> None:
        found = domain.domain(DOMAIN, "virsh")
        assert found.vcpu_pins == {0: CpuSet({2}), 1: CpuSet({3})}
        assert (found.emulator_pin, found.iothread_pins) == (CpuSet({4}), {1: CpuSet({4})})
        assert found.iothreads == {1}
        assert found.topology is not None
        assert found.topology.sockets == 8
        assert found.numa_cells == {0: CpuSet({0}), 1: CpuSet({1})}

    @pytest.mark.parametrize("text", ["2-4,^3", " 2 , 3-5, ^3,^5", "4,2"])
    def test_a_caret_takes_a_cpu_out(self, text: str) -> None:
        """Of formatdomain.html, CPU allocation: ``1-4,^3,6``."""
        xml = DOMAIN.replace("<emulatorpin cpuset='4'/>", f"<emulatorpin cpuset='{text}'/>")
        assert domain.domain(xml, "virsh").emulator_pin == CpuSet({2, 4})

    @pytest.mark.parametrize("text", ["^4", "4,^4", "4,^", "4,^x", "^^4,4", "4^3"])
    def test_a_caret_leaves_something_and_takes_a_number(self, text: str) -> None:
        xml = DOMAIN.replace("<emulatorpin cpuset='4'/>", f"<emulatorpin cpuset='{text}'/>")
        with pytest.raises(ParseError):
            domain.domain(xml, "virsh")

    def test_counts_enabled_vcpus_not_all(self) -> None:
        assert domain.domain(DOMAIN, "virsh").enabled == CpuSet({0, 1})

    def test_named_vcpus_outrank_the_number(self) -> None:
        named = "<vcpus><vcpu id='0' enabled='yes'/><vcpu id='1' enabled='no'/></vcpus>"
        xml = DOMAIN.replace("</vcpu>", f"</vcpu>{named}", 1)
        assert domain.domain(xml, "virsh").enabled == CpuSet({0})

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("<domain type='kvm'>", "<domain>"),
            ("</domain>", ""),
            ("vcpu='1'", "vcpu='0'"),
            ("cpuset='3'", "cpuset='x'"),
            ("cpuset='3'", "cpuset=''"),
            ("current='2'", "current='two'"),
            ("sockets='8'", ""),
        ],
    )
    def test_another_form_is_refused(self, old: str, new: str) -> None:
        assert old in DOMAIN
        with pytest.raises(ParseError, match="virsh"):
            domain.domain(DOMAIN.replace(old, new), "virsh")

    def test_live_answers(self) -> None:
        raw = RawDomain(DOMAIN, {"0": "2", "1": "3"}, "4", {"1": "4"}, "libvirt")
        assert domain.live(raw).vcpu_pins == {0: CpuSet({2}), 1: CpuSet({3})}


REPORT = {
    "sockets": 1,
    "cores_per_socket": 1,
    "threads_per_core": 2,
    "online": "0-1",
    "cpus": [
        {"cpu": 0, "socket": 0, "core": 0, "siblings": "0-1", "node": 0},
        {"cpu": 1, "socket": 0, "core": 0, "siblings": "0-1", "node": 0},
    ],
    "nodes": {"0": "0-1"},
}
LINE = f"{guest.MARK} {json.dumps(REPORT)}"


class TestGuests:
    @pytest.mark.parametrize(
        "console",
        [
            LINE,
            f"[ 0.1] booting\r\n{LINE}\r\n[ 9.0] more\r\n",
            f"\x1b[2J\x1b[1;1H[ 0.1] {LINE}[ 0.2] kernel message\n",
            f'{LINE}\n{guest.MARK} {{"sockets": 4, "cores_per',
            f"{guest.MARK} {{}}\n".replace("{}", '{"broken') + LINE,
        ],
        ids=["bare", "kernel around", "escapes and no line end", "next one is cut", "first is cut"],
    )
    def test_last_complete_report_counts(self, console: str) -> None:
        found = guest.guest(console, "console")
        assert found is not None
        assert (found.sockets, found.threads_per_core) == (1, 2)
        assert found.topology.cores == {CpuSet({0, 1})}

    @pytest.mark.parametrize("console", ["", "[ 0.1] booting", LINE[:60]])
    def test_no_report_yet(self, console: str) -> None:
        assert guest.guest(console, "console") is None

    @pytest.mark.parametrize(
        "change",
        [
            {"online": "0-3"},
            {"cpus": []},
            {"nodes": {"0": "0"}},
            {"sockets": "one"},
            {"cpus": [{"cpu": 0}]},
        ],
    )
    def test_report_that_contradicts_itself_is_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(ParseError, match="console"):
            guest.guest(f"{guest.MARK} {json.dumps({**REPORT, **change})}\n", "console")


UID = "0a1b2c3d-1111-4222-8333-444455556666"
SLICE = f"{UID.replace('-', '_')}.slice"
ID = "c" * 64


class TestCgroups:
    @pytest.mark.parametrize(
        "path",
        [
            f"/kubepods.slice/kubepods-pod{SLICE}/cri-containerd-{ID}.scope",
            f"/kubepods.slice/kubepods-pod{UID}.slice/crio-{ID}.scope",
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE}/crio-{ID}.scope",
            f"/kubepods/pod{UID}/{ID}",
            f"/kubepods/besteffort/pod{UID}/{ID}",
            f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{SLICE}/crio-{ID}.scope",
        ],
    )
    def test_container_and_pod_are_recognised(self, path: str) -> None:
        tree = cgroups.tree(
            {
                f"{cgroups.MOUNT}{path}/cpuset.cpus": "1\n",
                f"{cgroups.MOUNT}{path}/housekeeping/cpuset.cpus": "1\n",
            }
        )
        assert tree.containers == {ID: path}
        assert tree.below == {path: [path, f"{path}/housekeeping"]}
        assert set(tree.pods) == {UID}
        assert cgroups.leftovers(tree, UID, ()) == (cgroups.MOUNT + path.rpartition("/")[0],)

    def test_nothing_of_anybody_else(self) -> None:
        tree = cgroups.tree({f"{cgroups.MOUNT}/system.slice/ssh.service/cpuset.cpus": "1\n"})
        assert not tree.pods
        assert not tree.loose
        assert cgroups.leftovers(tree, UID, (ID,)) == ()

    @pytest.mark.parametrize(
        ("path", "place"),
        [
            ("/system.slice/ssh.service", None),
            ("/k3s/kubepods/burstable", ("/k3s/kubepods", "", "")),
            (f"/a/kubepods/besteffort/pod{UID}", ("/a/kubepods", UID, "")),
            (f"/kubepods/pod{UID}/{ID}/a/kubepods/podx/{'d' * 64}", ("/kubepods", UID, ID)),
            (f"/kubepods/pod{UID}/crio-conmon-{ID}.scope", ("/kubepods", UID, "")),
            (
                f"/system.slice/kubepods-burstable-pod{SLICE}:cri-containerd:{ID}",
                (f"/system.slice/kubepods-burstable-pod{SLICE}:cri-containerd:{ID}", UID, ID),
            ),
            (
                rf"/x\x2dy-kubepods.slice/x\x2dy-kubepods-pod{SLICE}",
                (r"/x\x2dy-kubepods.slice", UID, ""),
            ),
        ],
    )
    def test_places(self, path: str, place: tuple[str, str, str] | None) -> None:
        found = cgroups.place(path)
        assert (found and (found.root, found.pod_uid, found.container_id)) == place
