"""The checkpoint file has upstream's format and checksum."""

from __future__ import annotations

import pytest

from clusters.reference.kubelet.checkpoint import Checkpoint, CheckpointError

POD = {"container1": frozenset({4, 5, 6}), "container2": frozenset({1, 2, 3})}


@pytest.mark.parametrize(
    "text",
    [
        '{"policyName":"static","defaultCpuSet":"0-5","checksum":1946793818}',
        '{"policyName":"none","defaultCpuSet":"","checksum":1353318690}',
    ],
)
def test_files_of_real_kubelets_are_written_byte_for_byte(text: str) -> None:
    assert Checkpoint.load(text).dump() == text


def test_entries_survive_a_round_trip() -> None:
    checkpoint = Checkpoint("static", frozenset({0, 7, 8, 9}), {"pod": POD})
    assert '"entries":{"pod":{"container1":"4-6","container2":"1-3"}}' in checkpoint.dump()
    assert Checkpoint.load(checkpoint.dump()) == checkpoint


def test_checksum_with_entries_is_upstreams() -> None:
    assert Checkpoint("none", frozenset({1, 2, 3}), {"pod": POD}).checksum == 3610638499


@pytest.mark.parametrize(
    "text", ["{", '{"policyName":"static","defaultCpuSet":"0-5","checksum":1}']
)
def test_a_corrupt_file_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.load(text)
