"""Processes that may outlive the one that started them: found again, watched, ended.

A process is identified by its id and its start time, so that a recycled id is never taken
for the process that once had it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1


def start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat (clock ticks since boot); None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def identity(pid: int) -> str:
    """``PID:START``, to be kept in a file and given to `alive` and `stop`."""
    return f"{pid}:{start_time(pid)}"


def alive(process: str) -> bool:
    """Whether the process of that identity still runs."""
    pid, _, started = process.partition(":")
    return start_time(int(pid)) == started


def stop(process: str, *, grace_seconds: float) -> None:
    """SIGTERM, and SIGKILL when it has not ended after the grace. Returns when it is gone."""
    pid = int(process.partition(":")[0])
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if not alive(process):
                return
            for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
                signal.pidfd_send_signal(descriptor, number)
                if select.select([descriptor], [], [], seconds)[0]:
                    return
        finally:
            os.close(descriptor)


def die_with(parent: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Asks the kernel to signal this process when its parent ends, however it ends.

    Raises SystemExit at once when the parent has ended already. See prctl(2).
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:
        raise SystemExit(f"process {parent}, which started this one, has ended")
