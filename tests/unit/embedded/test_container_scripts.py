"""The scripts that a node's shell runs, as far as this host's shell can run them too."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

from clusters.embedded import container_scripts, node_image, oci
from clusters.kit.oci_images import Image
from clusters.reference.machine import ContainerSpec, Inside, Mount, Program

ID = "0123456789abcdef" * 4
CGROUP = f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"


def sh(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)


PLAIN = ContainerSpec(id=ID, name="main", pod_uid="1", cgroup=CGROUP, program=Program.SLEEP)
LIMITED = dataclasses.replace(PLAIN, cpuset=frozenset({2, 3, 7}), memory_max=4096)

VOLUME = Mount("/reports", "/var/lib/kubelet/pods/1/volumes/it's", group=65532)
IMAGE = Image(Path("tool.tar"), "blobs/sha256/abc", ("/usr/bin/tool",))
INSIDE = Inside(
    IMAGE,
    user=65532,
    group=0,
    groups=(65532,),
    directory="/tmp",
    capable=False,
    escalates=False,
    mounts=(VOLUME, Mount("/etc/hosts", "/etc/hosts", read_only=True)),
)
OF_IMAGE = dataclasses.replace(
    PLAIN, program=Program.IMAGE, command=("/usr/bin/tool",), inside=INSIDE
)


@pytest.mark.parametrize("text", ["", "plain\n", "100% 'quoted' \\n $HOME `date` \"x\"\n\n"])
def test_a_file_is_written_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "new directory" / "it's"
    assert sh(container_scripts.write({str(path): text})).returncode == 0
    assert path.read_text() == text
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_writing_stops_at_the_first_refusal_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused, never = tmp_path / "file" / "below", tmp_path / "never"
    done = sh(container_scripts.write({str(refused): "x", str(never): "y"}))
    assert done.returncode == 1
    assert str(refused) in done.stderr
    assert not never.exists()


def test_directories_come_and_go(tmp_path: Path) -> None:
    deep = tmp_path / "a b" / "c"
    for _ in range(2):
        assert sh(container_scripts.make_directories([str(deep)])).returncode == 0
        assert deep.is_dir()
    for _ in range(2):
        assert sh(container_scripts.remove([str(tmp_path / "a b")])).returncode == 0
        assert not deep.exists()


@pytest.mark.parametrize(
    "script",
    [
        container_scripts.start(LIMITED),
        container_scripts.start(OF_IMAGE),
        container_scripts.unpack("/run/images/abc"),
        container_scripts.stop(ID, 1.5),
        container_scripts.states(),
        container_scripts.set_cpusets({ID: frozenset({1, 2, 5})}),
        container_scripts.await_libvirt(ID),
        container_scripts.execute(ID, ["echo", "it's"], terminal="terminal-1"),
        container_scripts.resize(ID, "terminal-1", 100, 30),
        container_scripts.follow_ends(),
    ],
)
def test_scripts_are_shell(script: str) -> None:
    checked = subprocess.run(
        ["sh", "-n"], input=script, text=True, capture_output=True, check=False
    )
    assert checked.stderr == ""


def test_the_cgroup_has_its_limits_before_the_runtime_starts() -> None:
    script = container_scripts.start(LIMITED)
    before, runtime, _ = script.partition("crun ")
    assert runtime
    for name, text in {
        "cpuset.cpus": "2-3,7",
        "cpu.max": "'max 100000'",
        "memory.max": "4096",
    }.items():
        assert f"echo {text} >/sys/fs/cgroup{CGROUP}/{name}" in before


def test_a_launchers_socket_fits_into_an_address() -> None:
    assert len(container_scripts.libvirt_socket(ID)) < 108


def test_a_container_runs_its_program_in_its_cgroup() -> None:
    spec = dataclasses.replace(
        PLAIN, program=Program.COMMAND, command=("sleep", "1"), environment={"A": "b"}
    )
    config = json.loads(oci.config(spec, "/run/bundles/x"))
    assert config["process"]["args"] == ["sleep", "1"]
    assert "A=b" in config["process"]["env"]
    assert config["linux"]["cgroupsPath"] == CGROUP
    assert {"type": "pid"} in config["linux"]["namespaces"]
    assert "CAP_SYS_ADMIN" not in config["process"]["capabilities"]["effective"]


def test_virt_handler_sees_the_nodes_processes_and_the_kubelets_files() -> None:
    spec = dataclasses.replace(PLAIN, program=Program.NODE_TOOLS)
    config = json.loads(oci.config(spec, "/run/bundles/x"))
    assert {"type": "pid"} not in config["linux"]["namespaces"]
    assert "CAP_SYS_ADMIN" in config["process"]["capabilities"]["effective"]
    assert "/var/lib/kubelet" in [mount["destination"] for mount in config["mounts"]]


def test_the_guests_command_line_is_not_cut_off() -> None:
    # COMMAND_LINE_SIZE of x86
    assert len(node_image.GUEST_ARGUMENTS) < 2048


def test_every_program_of_a_container_is_in_the_image() -> None:
    files = node_image.extra_files()
    for program in Program:
        spec = dataclasses.replace(PLAIN, program=program, command=("x",))
        arguments = json.loads(oci.config(spec, "/d"))["process"]["args"]
        assert not arguments[0].startswith("/") or arguments[0] in files


def test_a_container_of_an_image_has_its_files_its_user_and_no_more_rights_than_it_asked_for() -> (
    None
):
    config = json.loads(oci.config(OF_IMAGE, "/run/bundles/1"))
    process = config["process"]
    assert config["root"] == {"path": oci.image_root(IMAGE), "readonly": True}
    assert process["user"] == {"uid": 65532, "gid": 0, "additionalGids": [65532]}
    assert process["noNewPrivileges"]
    assert not any(process["capabilities"].values())
    assert (process["cwd"], process["args"]) == ("/tmp", ["/usr/bin/tool"])
    mounts = {each["destination"]: each for each in config["mounts"]}
    assert mounts["/reports"]["source"] == VOLUME.source
    assert "ro" in mounts["/etc/hosts"]["options"]
    assert "ro" not in mounts["/reports"]["options"]

    plain = json.loads(oci.config(PLAIN, "/run/bundles/1"))
    assert plain["process"]["user"] == {"uid": 0, "gid": 0}
    assert plain["process"]["capabilities"]["effective"]
    assert not plain["process"]["noNewPrivileges"]


def test_an_image_is_unpacked_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("content")
    tar = subprocess.run(
        ["tar", "-cz", "-C", tmp_path, "tool"], capture_output=True, check=True
    ).stdout
    place = tmp_path / "images" / "abc"
    script = ["sh", "-c", container_scripts.unpack(str(place))]
    cut = subprocess.run(script, input=tar[:40], capture_output=True, check=False)
    assert cut.returncode
    assert not place.exists()
    for _ in range(2):
        subprocess.run(script, input=tar, capture_output=True, check=True)
        assert [each.name for each in place.parent.iterdir()] == ["abc"]
    assert (place / "tool").read_text() == "content"


def test_the_timer_of_a_guest_is_bound_to_the_cpus_of_its_vcpu_0(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    told = "Name:\t{name}\nTgid:\t150\nNSpid:\t{pid}\t{inner}\nCpus_allowed_list:\t{cpus}\n"
    for pid, name, inner, cpus, began in (
        (150, "qemu-system-x86", 80, "2-4", 500),
        (154, "CPU 0/KVM", 84, "2", 510),
        (159, "kvm-pit/80", 159, "0-11", 490),
        (160, "kvm-pit/80", 160, "0-11", 505),
        (161, "kvm-pit/80", 161, "7", 502),
        (162, "kvm-pit/8", 162, "0-11", 503),
        (163, "kvm-pit/80", 163, "0-11", 900),
    ):
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "comm").write_text(f"{name}\n")
        (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {'0 ' * 18}{began} 0\n")
        text = told.format(name=name, pid=pid, inner=inner, cpus=cpus)
        (proc / str(pid) / "status").write_text(text)
    members = groups / CGROUP.lstrip("/") / "cgroup.threads"
    members.parent.mkdir(parents=True)
    members.write_text("150\n154\n199\n")
    script = container_scripts.affine_pit(CGROUP).replace(" >/dev/null", "")
    for old, new in (("/proc/", f"{proc}/"), (container_scripts.CGROUPS, str(groups))):
        script = script.replace(old, new)
    bound = sh(f'taskset() {{ echo "$*"; }}\n{script}')
    assert (bound.returncode, bound.stdout) == (0, "-p -c 2 160\n")
    members.write_text("150\n")
    assert sh(script).returncode == 0, "no vCPU, no timer"
