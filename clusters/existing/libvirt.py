"""libvirt through ``virsh`` in the launcher's compute container.

One command asks everything: an exec and virsh's connection take longer than all of its answers.

Source of the forms: virsh(1), and libvirt tools/virsh-domain.c: ``vcpupin``, ``emulatorpin``
and ``iothreadinfo`` without CPUs print tables, whose separators changed in release 4.10.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from clusters.contract.access import AccessError, ContainerExec, ExecResult, LibvirtView
from clusters.kit.launchers import COMPUTE

SOCKET = "/var/run/libvirt/virtqemud-sock"

CONNECTIONS: tuple[tuple[str, ...], ...] = (("-c", f"qemu+unix:///session?socket={SOCKET}"), ())
"""Tried in turn: the launcher's own socket; virsh's default, for launchers that run as root."""
_QUESTIONS = ("dumpxml", "vcpupin", "emulatorpin", "iothreadinfo")
"""Each asked of the domain."""

_ROW = re.compile(r" *(?P<id>\d+):? +(?P<cpus>\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*) *")
_EMULATOR_ROW = re.compile(r" *\*: +(?P<cpus>\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*) *")
_VERSION = re.compile(
    r"^(Using library|Running hypervisor): (?:libvirt )?((?:QEMU )?[\d.]+)$", re.MULTILINE
)
_RULE = re.compile(r"-+")
_NO_IOTHREADS = "No IOThreads found for the domain"


class VirshLibvirt:
    """`clusters.contract.access.Libvirt` by means of commands in the compute container.

    Args:
        container_exec: runs them.
        read_only: whether libvirt is to refuse whatever would change anything (``virsh -r``).
    """

    def __init__(
        self,
        container_exec: ContainerExec,
        *,
        read_only: bool = False,
    ) -> None:
        self._words = ("virsh", "-r") if read_only else ("virsh",)
        self._exec = container_exec
        self._connections = CONNECTIONS

    def view(self, namespace: str, vmi: str, launcher: Mapping[str, Any]) -> LibvirtView:
        """As `Libvirt.view`; the pins of vCPUs that are not enabled are left out."""
        pod = str(launcher["metadata"]["name"])
        domain = f"{namespace}_{vmi}"
        answers = self._at_once(namespace, pod, domain) or self._one_by_one(namespace, pod, domain)
        connection, (xml, vcpus, emulator, iothreads, told) = self._connections[0], answers
        enabled = enabled_vcpus(xml)
        return LibvirtView(
            xml=xml,
            vcpu_pins={vcpu: cpus for vcpu, cpus in vcpu_pins(vcpus).items() if vcpu in enabled},
            emulator_pin=emulator_pin(emulator),
            iothread_pins=iothread_pins(iothreads),
            source=f"{shlex.join((*self._words, *connection))} in {namespace}/{pod}",
            versions=versions(told),
        )

    def _at_once(self, namespace: str, pod: str, domain: str) -> Sequence[str] | None:
        """The answers to all questions, and the versions; None unless each was answered.

        virsh takes several commands in one line (virsh(1), NOTES); its ``echo`` ends each answer.
        """
        end = f"end-{secrets.token_hex(8)}"
        commands = [*(f"{question} {domain}" for question in _QUESTIONS), "version"]
        line = "; ".join(f"{command}; echo {end}" for command in commands)
        result = self._virsh(namespace, pod, (*self._connections[0], line))
        *answers, rest = result.stdout.split(end)
        if result.returncode or rest.strip() or len(answers) != len(commands):
            return None
        # Who answers nothing has failed, and says why when it is asked alone.
        answered = all(answer.strip() for answer in answers[: len(_QUESTIONS)])
        return [answer.lstrip("\n") for answer in answers] if answered else None

    def _one_by_one(self, namespace: str, pod: str, domain: str) -> Sequence[str]:
        """The same, by a command for each question. Raises AccessError when one has failed."""
        connection, xml = self._dump(namespace, pod, domain)

        def ask(command: str) -> str:
            result = self._virsh(namespace, pod, (*connection, command, domain))
            if result.returncode:
                raise AccessError(_failed(namespace, pod, command, result))
            return result.stdout

        told = self._virsh(namespace, pod, (*connection, "version"))
        return (xml, *map(ask, _QUESTIONS[1:]), "" if told.returncode else told.stdout)

    def _dump(self, namespace: str, pod: str, domain: str) -> tuple[tuple[str, ...], str]:
        failures = []
        for connection in self._connections:
            result = self._virsh(namespace, pod, (*connection, "dumpxml", domain))
            if not result.returncode:
                # All launchers of a cluster are alike, and each command takes a while.
                others = (other for other in self._connections if other != connection)
                self._connections = (connection, *others)
                return connection, result.stdout
            failures.append(_failed(namespace, pod, shlex.join((*connection, "dumpxml")), result))
        raise AccessError("; ".join(failures))

    def _virsh(self, namespace: str, pod: str, words: tuple[str, ...]) -> ExecResult:
        return self._exec.run(namespace, pod, COMPUTE, (*self._words, *words))


def _failed(namespace: str, pod: str, command: str, result: ExecResult) -> str:
    said = " ".join((result.stderr or result.stdout).split())
    return f"`virsh {command}` in {namespace}/{pod} ended with {result.returncode}: {said}"


def enabled_vcpus(xml: str) -> frozenset[int]:
    """Ids of the vCPUs that are switched on. Raises AccessError when that is no domain."""
    try:
        domain = ElementTree.fromstring(xml)
        listed = domain.findall("vcpus/vcpu")
        if listed:
            return frozenset(int(v.attrib["id"]) for v in listed if v.get("enabled") == "yes")
        vcpu: Any = domain.find("vcpu")
        return frozenset(range(int(vcpu.get("current") or vcpu.text)))
    except (ElementTree.ParseError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise AccessError(f"virsh dumpxml answered with no domain: {xml[:200]!r}") from error


def vcpu_pins(text: str) -> Mapping[int, frozenset[int]]:
    """What ``virsh vcpupin DOMAIN`` prints: every vCPU, enabled or not.

    Raises:
        AccessError: a line is not known.
    """
    return _table(text, ("VCPU", "CPU Affinity"))


def iothread_pins(text: str) -> Mapping[int, frozenset[int]]:
    """What ``virsh iothreadinfo DOMAIN`` prints. Raises AccessError."""
    if text.strip() == _NO_IOTHREADS:
        return {}
    return _table(text, ("IOThread ID", "CPU Affinity"))


def emulator_pin(text: str) -> frozenset[int]:
    """What ``virsh emulatorpin DOMAIN`` prints. Raises AccessError."""
    rows = _rows(text, ("emulator", "CPU Affinity"))
    found = _EMULATOR_ROW.fullmatch(rows[0]) if len(rows) == 1 else None
    if found is None:
        raise AccessError(f"not the answer of virsh emulatorpin: {text!r}")
    return _cpus(found["cpus"])


def versions(text: str) -> str:
    """What ``virsh version`` prints, in short; empty when that is not known."""
    found = dict(_VERSION.findall(text))
    parts = (f"libvirt {found.get('Using library', '')}", found.get("Running hypervisor", ""))
    return ", ".join(parts) if len(found) == len(parts) else ""


def _table(text: str, columns: tuple[str, str]) -> Mapping[int, frozenset[int]]:
    pins: dict[int, frozenset[int]] = {}
    for row in _rows(text, columns):
        found = _ROW.fullmatch(row)
        if found is None or int(found["id"]) in pins:
            raise AccessError(f"virsh printed a line that is not known: {row!r} in {text!r}")
        pins[int(found["id"])] = _cpus(found["cpus"])
    if not pins:
        raise AccessError(f"virsh printed an empty table: {text!r}")
    return pins


def _rows(text: str, columns: tuple[str, str]) -> list[str]:
    """The lines below heading and rule."""
    lines = [line for line in text.splitlines() if line.strip()]
    heading = re.fullmatch(r" *{}:? +{} *".format(*columns), lines[0]) if lines else None
    if heading is None or len(lines) < 2 or not _RULE.fullmatch(lines[1].strip()):
        raise AccessError(f"virsh printed no table of {columns[0]} and {columns[1]}: {text!r}")
    return lines[2:]


def _cpus(text: str) -> frozenset[int]:
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus |= set(range(int(first), int(last or first) + 1))
    return frozenset(cpus)
