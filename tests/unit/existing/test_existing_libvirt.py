"""virsh's tables, and the view of a domain made of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from clusters.contract.access import AccessError, ExecResult
from clusters.existing import libvirt

LAUNCHER = {"metadata": {"name": "launcher"}}

VCPUPIN = " VCPU   CPU Affinity\n----------------------\n 0      2\n 1      3,5-6\n 2      0-11\n\n"
OLD_VCPUPIN = "VCPU: CPU Affinity\n----------------------------------\n   0: 2\n   1: 3,5-6\n\n"
EMULATORPIN = "emulator: CPU Affinity\n----------------------------------\n       *: 4\n\n"
IOTHREADINFO = " IOThread ID   CPU Affinity\n-----------------------------\n 1             4\n\n"
VERSION = (
    "Compiled against library: libvirt 10.10.0\nUsing library: libvirt 10.5.0\n"
    "Using API: QEMU 10.5.0\nRunning hypervisor: QEMU 9.0.0\n\n"
)
XML = (
    "<domain type='kvm'><vcpu current='2'>3</vcpu><vcpus><vcpu id='0' enabled='yes'/>"
    "<vcpu id='1' enabled='yes'/><vcpu id='2' enabled='no'/></vcpus></domain>"
)


def test_tables_of_new_and_old_releases() -> None:
    first_two = {0: frozenset({2}), 1: frozenset({3, 5, 6})}
    assert libvirt.vcpu_pins(VCPUPIN) == {**first_two, 2: frozenset(range(12))}
    assert libvirt.vcpu_pins(OLD_VCPUPIN) == first_two
    assert libvirt.emulator_pin(EMULATORPIN) == {4}
    assert libvirt.iothread_pins(IOTHREADINFO) == {1: {4}}
    assert libvirt.iothread_pins("No IOThreads found for the domain\n") == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "error: failed to get domain\n",
        " VCPU   CPU Affinity\n----------------------\n",
        VCPUPIN.replace("3,5-6", "3,^5"),
        VCPUPIN.replace(" 1  ", " 0  "),
        VCPUPIN + " warning\n",
        IOTHREADINFO,
    ],
)
def test_what_is_not_known_is_quoted(text: str) -> None:
    with pytest.raises(AccessError) as caught:
        libvirt.vcpu_pins(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", EMULATORPIN + "       *: 5\n", EMULATORPIN.replace("4", "")])
def test_the_emulator_has_one_row(text: str) -> None:
    with pytest.raises(AccessError):
        libvirt.emulator_pin(text)


class Virsh:
    """A compute container whose virsh answers."""

    def __init__(self, *, socket: bool = True) -> None:
        self.socket = socket
        self.lines = 0
        self.answers = {
            "dumpxml": XML,
            "vcpupin": VCPUPIN,
            "emulatorpin": EMULATORPIN,
            "iothreadinfo": IOTHREADINFO,
        }

    def run(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        assert (namespace, pod, container, command[0]) == ("ns", "launcher", "compute", "virsh")
        if "-c" in command and not self.socket:
            return ExecResult(1, "", "error: failed to connect to the hypervisor\n")
        if ";" in command[-1]:
            self.lines += 1
            return self._in_turn(command)
        if command[-2] == "echo":
            return ExecResult(0, f"{command[-1]}\n", "")
        if command[-1] == "version":
            return ExecResult(0, VERSION, "")
        assert command[-1] == "ns_vm"
        answer = self.answers[command[-2]]
        return ExecResult(int(not answer), answer, "" if answer else "error: no domain\n")

    def _in_turn(self, command: Sequence[str]) -> ExecResult:
        before = command[:-1]
        said = [
            self.run("ns", "launcher", "compute", (*before, *words.split())).stdout
            for words in command[-1].split(";")
        ]
        return ExecResult(0, "\n".join(said), "")


def test_a_view_takes_one_command_and_leaves_out_vcpus_that_are_not_enabled() -> None:
    container = Virsh()
    view = libvirt.VirshLibvirt(container).view("ns", "vm", LAUNCHER)
    assert container.lines == 1
    assert set(view.vcpu_pins) == {0, 1}
    assert view.emulator_pin == frozenset({4})
    assert view.iothread_pins == {1: frozenset({4})}
    assert "virsh -c 'qemu+unix:///session?socket=" in view.source
    assert view.source.endswith("in ns/launcher")
    assert view.versions == "libvirt 10.5.0, QEMU 9.0.0"


@pytest.mark.parametrize("text", ["", "error: no connection\n", VERSION.replace("QEMU 9", "Xen 4")])
def test_versions_that_are_not_told_cost_nothing(text: str) -> None:
    assert libvirt.versions(text) == ""


def test_a_launcher_that_runs_as_root_has_virshs_own_default() -> None:
    container = Virsh(socket=False)
    virsh = libvirt.VirshLibvirt(container)
    assert virsh.view("ns", "vm", LAUNCHER).source == "virsh in ns/launcher"
    assert virsh.view("ns", "vm", LAUNCHER).source == "virsh in ns/launcher"
    assert container.lines == 1, "the second view asks what answered, all at once"


@pytest.mark.parametrize("command", ["dumpxml", "vcpupin"])
def test_a_refusal_is_quoted(command: str) -> None:
    container = Virsh()
    container.answers[command] = ""
    virsh = libvirt.VirshLibvirt(container)
    with pytest.raises(AccessError, match=f"{command}.* ended with 1: error: no domain"):
        virsh.view("ns", "vm", LAUNCHER)


def test_enabled_vcpus_without_a_list() -> None:
    assert libvirt.enabled_vcpus("<domain><vcpu current='2'>8</vcpu></domain>") == {0, 1}
    assert libvirt.enabled_vcpus("<domain><vcpu>3</vcpu></domain>") == {0, 1, 2}
    with pytest.raises(AccessError, match="no domain"):
        libvirt.enabled_vcpus("<domain/>")
