"""``python -m tests.unit.faulty_run FAULT COMMAND...``: `./conform` with something that fails.

Either the clusters that it brings up are reached through a proxy on loopback that does not
always do what it is asked, or there is no room for the evidence after a while. What fails is
counted, not drawn: every run is alike.
"""

from __future__ import annotations

import errno
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clusters import providers
from conformance import settling
from conformance.checks.registry import registered
from conformance.cli import main
from conformance.collecting import bundle
from conformance.judging import terms
from tests.unit.faulty_proxy import Fault, Proxy, behind_proxy

EVERY = 5
"""One request in so many fails."""
FILES = 9
"""Files of evidence for which there is room."""
LIVES = 25
"""Requests that are answered before an API goes away for good."""


def now_and_then(proxy: Proxy) -> None:
    """Each kind of fault in turn, with good answers between them."""
    number = next(Proxy.counter)
    if number % EVERY:
        proxy.forward()
        return
    faults: tuple[Callable[[], None], ...] = (
        lambda: proxy.refuse(500),
        lambda: proxy.refuse(429, Retry_After="0"),
        proxy.reset,
        lambda: proxy.forward(answered=False),
        lambda: proxy.forward(cut=True),
        lambda: proxy.refuse(503),
    )
    faults[number // EVERY % len(faults)]()


def for_good(proxy: Proxy) -> None:
    """Resets every connection after a while."""
    if next(Proxy.counter) <= LIVES:
        proxy.forward()
    else:
        proxy.reset()


def no_room() -> None:
    """Lets the disk be full after some files of evidence."""
    written = itertools.count(1)
    write = bundle._write

    def full(directory: Path, name: str, data: Mapping[str, Any]) -> None:
        if next(written) > FILES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory / name))
        write(directory, name, data)

    bundle._write = full


def bad_check() -> None:
    """Lets a check break: an error of our own, whatever the cluster is like."""

    def breaks(*_about: object) -> str:
        raise ZeroDivisionError("a slip of ours")

    broken = {"CPU-COUNT": replace(registered()["CPU-COUNT"], compare=breaks)}
    patched: Any = terms
    patched.registered = lambda: {**registered(), **broken}


FAULTS: dict[str, Fault] = {"now-and-then": now_and_then, "for-good": for_good}


def bad_api(fault: Fault) -> None:
    """Puts the proxy in front of every simulated cluster."""
    settling.FIRST_RETRY = 0.01
    provider: Any = providers.provider("simulated")
    up = provider.up

    def up_behind(*arguments: Any, **keywords: Any) -> Any:
        handle = up(*arguments, **keywords)
        return replace(handle, kubeconfig=behind_proxy(handle.kubeconfig, fault))

    provider.up = up_behind


if __name__ == "__main__":
    if sys.argv[1] == "no-room":
        no_room()
    elif sys.argv[1] == "bad-check":
        bad_check()
    else:
        bad_api(FAULTS[sys.argv[1]])
    raise SystemExit(main(sys.argv[2:]))
