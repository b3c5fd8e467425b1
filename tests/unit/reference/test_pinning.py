"""The launcher pins as KubeVirt's launcher does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clusters.reference.launcher.pinning import PinningError, PinningRequest, pin

VECTORS = json.loads((Path(__file__).parents[2] / "recorded" / "launcher-pinning.json").read_text())


def answer_for(vector: dict[str, Any]) -> dict[str, Any]:
    pinning = pin(
        PinningRequest(
            cpus=vector["cpuset"],
            cores=vector["sockets"] * vector["cores"],
            threads=vector["threads"],
            isolate_emulator=vector["isolateEmulatorThread"],
            even_parity=vector["evenParityAnnotation"],
            iothreads=vector.get("ioThreads") if vector.get("ioThreadsPolicy") else None,
        ),
        vector["numa_cells"],
    )
    answer: dict[str, Any] = {"vcpupin": {str(k): str(v) for k, v in pinning.vcpus.items()}}
    if pinning.emulator:
        answer["emulatorpin"] = ",".join(map(str, pinning.emulator))
    if pinning.iothreads:
        answer["iothreadpin"] = {
            str(k): ",".join(map(str, v)) for k, v in pinning.iothreads.items()
        }
    return answer


def test_there_are_recorded_answers() -> None:
    assert len(VECTORS) == 300


def test_every_recorded_answer_is_reproduced() -> None:
    wanted = ("vcpupin", "emulatorpin", "iothreadpin")
    wrong = [
        (answer, vector)
        for vector in VECTORS
        if (answer := answer_for(vector)) != {key: vector[key] for key in wanted if key in vector}
    ]
    assert not wrong, f"{len(wrong)} of {len(VECTORS)} differ, such as {wrong[0]}"


def test_supplemental_iothreads_get_pcpus_before_the_emulator() -> None:
    request = PinningRequest(
        cpus=(2, 3, 4, 5, 6),
        cores=2,
        threads=1,
        isolate_emulator=True,
        iothreads=2,
        supplemental_iothreads=2,
    )
    pinning = pin(request, [[[0], [1], [2], [3]], [[4], [5], [6], [7]]])
    assert dict(pinning.vcpus) == {0: 2, 1: 3}
    assert dict(pinning.iothreads) == {1: (4,), 2: (5,)}
    assert pinning.emulator == (6,)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (PinningRequest((2,), cores=2, threads=1), "could not fit 1 core"),
        (PinningRequest((2,), cores=1, threads=1, isolate_emulator=True), "emulation thread"),
        (PinningRequest((2,), cores=1, threads=1, iothreads=0), "missing IOThreads"),
        (PinningRequest((1, 2), cores=1, threads=2, strict_numa=True), "crossing numa cell"),
    ],
)
def test_too_few_cpus_are_refused(request_: PinningRequest, message: str) -> None:
    with pytest.raises(PinningError, match=message):
        pin(request_, [[[0], [1]], [[2], [3]]])
