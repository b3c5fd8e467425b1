"""A guest that hangs while it boots is reset, any other is left alone."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from clusters.reference.faults import Faults
from clusters.reference.launcher import launcher as launching
from clusters.reference.launcher.launcher import Launcher
from clusters.reference.machine import Machine

POD = {
    "metadata": {"uid": "u", "name": "virt-launcher-x"},
    "status": {
        "qosClass": "Guaranteed",
        "containerStatuses": [{"name": "compute", "containerID": "cri://c"}],
    },
}


class Guest:
    """The part of a machine that a guest's console and its reset button are."""

    def __init__(self, printed: str) -> None:
        self.printed = printed
        self.resets: list[tuple[str, str]] = []

    async def console_text(self, _id: str, _domain: str) -> str:
        return self.printed

    async def reset_domain(self, id_: str, domain: str) -> None:
        self.resets.append((id_, domain))


@pytest.mark.parametrize(("printed", "resets"), [("", [("c", "ns_vm")]), ("CPU-CONF", [])])
def test_only_a_silent_guest_is_reset(
    printed: str, resets: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "SILENCE_SECONDS", 0.0)
    guest, nothing = Guest(printed), cast(Any, None)
    launcher = Launcher(cast(Machine, guest), nothing, POD, nothing, Faults())
    launcher.domain = "ns_vm"
    assert asyncio.run(launcher.rouse()) == bool(resets)
    assert guest.resets == resets
