"""Files that are not what was written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clusters.host import checksums

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.write(b"kernel")
        file.seek(5 * MIB + 17)
        file.write(b"end")
        file.truncate(9 * MIB)
    return path


@pytest.mark.parametrize("position", [0, 3 * MIB, 5 * MIB + 18, 9 * MIB - 1])
def test_a_flipped_bit_is_found_wherever_it_is(image: Path, position: int) -> None:
    before = checksums.of(image.parent)
    with image.open("r+b") as file:
        (byte,) = os.pread(file.fileno(), 1, position)
        os.pwrite(file.fileno(), bytes([byte ^ 0x10]), position)
    assert checksums.of(image.parent) != before


def test_content_that_moved_or_was_cut_is_found(image: Path) -> None:
    before = checksums.of(image.parent)
    data = image.read_bytes()
    image.write_bytes(bytes(MIB) + data[:-MIB])
    assert checksums.of(image.parent) != before
    image.write_bytes(data[:-1])
    assert checksums.of(image.parent) != before
    image.write_bytes(data)
    assert checksums.of(image.parent) == before, "written out, its holes are zeros"


def test_a_file_more_or_less_is_found(image: Path) -> None:
    before = checksums.of(image.parent)
    (image.parent / "more").touch()
    assert checksums.of(image.parent) != before
    (image.parent / "more").unlink()
    assert checksums.of(image.parent) == before
    image.unlink()
    assert checksums.of(image.parent) == {}
