"""Threads, from ``/proc/PID/task/TID/status`` (proc_pid_status(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from conformance.model.cpuset import CpuSet
from conformance.model.vocabulary import PIT
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError

KEPT = ("Name", "Tgid", "Pid", "PPid", "NSpid", "Cpus_allowed_list")
"""The lines that are read; all others may be left out of a recording."""
_PRIORITY, _POLICY = 37, 38
"""Places of the fields 40 and 41 among those after the name, which may hold anything."""
RT_RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"
"""How long threads in real time may run, of each period; -1 is without end."""
KTHREADD = 2
"""The parent of kernel threads, on any node."""
_HUGE = "huge"
_PAGE_SIZE = re.compile(r"kernelpagesize_kB=([0-9]{1,9})")
_ON_NODE = re.compile(r"N([0-9]{1,4})=([0-9]{1,15})")


@dataclass(frozen=True)
class Status:
    """What one status file says.

    Attributes:
        parent: None when the file has no PPid.
        inner_pid: id in the innermost PID namespace, None when the file has no NSpid.
    """

    name: str
    pid: int
    tid: int
    affinity: CpuSet
    parent: int | None
    inner_pid: int | None


def excerpt(text: str) -> str:
    """The lines of a status file that `status` reads: 100 bytes instead of 1400."""
    return "\n".join(line for line in text.splitlines() if line.split(":", 1)[0] in KEPT)


def affinity(text: str) -> str:
    """Where a status file says that the thread may run, as it says it; empty where it does not."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((cpus.strip() for key, _, cpus in lines if key == "Cpus_allowed_list"), "")


def is_kernel_thread(text: str) -> bool:
    """Whether a status file is of kthreadd, which is process 2 on any node, or of a child."""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    numbers = (lines.get("Tgid", "").strip(), lines.get("PPid", "").strip())
    return numbers == ("2", "0") or numbers[1] == "2"


def is_pit(text: str) -> bool:
    """Whether a status file is of the kernel thread that is the timer of a guest."""
    name = next((line[5:].strip() for line in text.splitlines() if line.startswith("Name:")), "")
    return name.startswith(PIT) and is_kernel_thread(text)


def status(text: str, source: str) -> Status:
    """Reads the status of one thread.

    Raises:
        ParseError: a line that is needed is missing or not understood.
    """
    try:
        return _status(text)
    except ParseError as error:
        raise ParseError(error.what, error.text, source) from error


@lru_cache(maxsize=65536)
def _status(text: str) -> Status:
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    missing = [key for key in ("Name", "Tgid", "Pid", "Cpus_allowed_list") if key not in lines]
    if missing:
        raise ParseError(f"the lines {', '.join(missing)}", text, "")
    inner = lines.get("NSpid", "").split()
    affinity = cpulist(lines["Cpus_allowed_list"], "")
    if not affinity:
        raise ParseError("a thread that may run somewhere", text, "")
    return Status(
        name=lines["Name"].strip(),
        pid=_number(lines["Tgid"]),
        tid=_number(lines["Pid"]),
        affinity=affinity,
        parent=_number(lines["PPid"]) if "PPid" in lines else None,
        inner_pid=_number(inner[-1]) if inner else None,
    )


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ParseError("a number", text, "") from None


def clock(stat: str, uptime: str) -> datetime | None:
    """The time of a node, to a second: when it booted (``/proc/stat``), and ``/proc/uptime`` since.

    The kernel reckons the first of the two anew whenever it is read, so that it goes with a clock
    that was set. None where either says nothing of it.
    """
    booted = re.search(r"^btime (\d{1,11})$", stat, re.MULTILINE)
    since = re.match(r"\d{1,10}(?:\.\d+)?", uptime)
    if not booted or not since:
        return None
    return datetime.fromtimestamp(int(booted[1]) + float(since[0]), UTC)


def scheduling(text: str, source: str) -> tuple[int, int]:
    """Policy and real-time priority, from ``/proc/TID/stat`` (proc_pid_stat(5), fields 41 and 40).

    Raises:
        ParseError: it is not such a file.
    """
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _POLICY or not all(fields[at].isdecimal() for at in (_PRIORITY, _POLICY)):
        raise ParseError("the fields of a thread", text, source)
    return int(fields[_POLICY]), int(fields[_PRIORITY])


def huge_lines(text: str) -> str:
    """What `huge_pages` reads of a ``numa_maps``; and its first line: it shows that it was read."""
    first, *rest = text.splitlines() or [""]
    return "\n".join([first, *(line for line in rest if _HUGE in line.split())])


def huge_pages(text: str, source: str) -> dict[tuple[int, int], int]:
    """Bytes on huge pages by (NUMA node, bytes of a page), from a ``numa_maps``.

    Source of the form: proc_pid_numa_maps(5).

    Raises:
        ParseError: a line of huge pages says not how large they are, or not how many.
    """
    found: dict[tuple[int, int], int] = {}
    for line in text.splitlines():
        words = line.split()
        if _HUGE not in words:
            continue
        sizes = [match[1] for word in words if (match := _PAGE_SIZE.fullmatch(word))]
        if len(sizes) != 1:
            raise ParseError("the size of huge pages", line, source)
        size = int(sizes[0]) * 1024
        for word in words:
            if match := _ON_NODE.fullmatch(word):
                key = (int(match[1]), size)
                found[key] = found.get(key, 0) + int(match[2]) * size
    return found


def ids(text: str, source: str) -> tuple[int, ...]:
    """The ids in ``cgroup.procs`` or ``cgroup.threads``, one a line.

    Raises:
        ParseError: a line is not a number.
    """
    try:
        return tuple(int(line) for line in text.split())
    except ValueError:
        raise ParseError("one id a line", text, source) from None
