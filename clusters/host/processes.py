"""Processes that may outlive the one that started them: found again, watched, ended.

A process is identified by its id and its start time, so that a recycled id is never taken
for the process that once had it, and by its PID namespace: of a process in a container, with
which this one shares nothing but a directory, nothing is known here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from clusters.contract.provider import ClusterError

PR_SET_PDEATHSIG = 1


PROC = Path("/proc/self/ns/pid")
"""There on Linux alone; elsewhere `ps` is asked, and who may signal a process polls it."""
HOST = 0xEFFFFFFC
"""The inode of the machine's own PID namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO)."""
POLL_SECONDS = 0.1


def start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat (clock ticks since boot); None when it is gone or a zombie."""
    if not PROC.exists():
        return _told_by_ps(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _told_by_ps(pid: int) -> str | None:
    """The start time as one word, to the second."""
    command = ("ps", "-o", "stat=,lstart=", "-p", str(pid))
    state, _, started = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
    ).stdout.partition(" ")
    words = "".join(character for character in started if character.isalnum())
    return words if words and not state.startswith("Z") else None


def identity(pid: int) -> str:
    """``PID:START``, to be kept in a file and given to `alive` and `stop`.

    In a container ``PID:START:NAMESPACE``, by the inode of its PID namespace.
    """
    return f"{pid}:{start_time(pid)}{_namespace()}"


def _namespace() -> str:
    inode = PROC.stat().st_ino if PROC.exists() else HOST
    return "" if inode == HOST else f":{inode}"


def _here(process: str) -> bool:
    """Whether the identity is of a process that this one could see."""
    return process.split(":")[2:] == _namespace().split(":")[1:]


def alive(process: str) -> bool:
    """Whether the process of that identity still runs, or nobody here can tell."""
    pid, started, *_ = process.split(":")
    return not _here(process) or start_time(int(pid)) == started


def stop(process: str, *, grace_seconds: float) -> None:
    """SIGTERM, and SIGKILL when it has not ended after the grace. Returns when it is gone.

    Raises ClusterError when it runs where it cannot be reached from here.
    """
    if not _here(process):
        raise ClusterError(
            f"process {process.partition(':')[0]} runs in another PID namespace, such as a "
            "container's: end it from there"
        )
    pid = int(process.partition(":")[0])
    # The identity is asked for again once the process is held, so that no other is signalled.
    with contextlib.suppress(ProcessLookupError), _held(pid) as held:
        if not alive(process):
            return
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
            if held is None:
                os.kill(pid, number)
            else:
                signal.pidfd_send_signal(held, number)
            if _ended_within(seconds, held, process):
                return


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int | None]:
    """A descriptor of the process where there is such a thing. Raises ProcessLookupError."""
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ended_within(seconds: float, held: int | None, process: str) -> bool:
    if held is not None:
        return bool(select.select([held], [], [], seconds)[0])
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def die_with(parent: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Has this process signalled when its parent ends, however it ends.

    Raises SystemExit at once when the parent has ended already. See prctl(2); where there is no
    such call, a thread looks.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
    else:
        threading.Thread(target=_watch, args=(parent, number), daemon=True).start()
    if os.getppid() != parent:
        raise SystemExit(f"process {parent}, which started this one, has ended")


def _watch(parent: int, number: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), number)
