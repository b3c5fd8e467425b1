"""Temporary directories, and what killed runs leave of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from clusters.host import processes, scratch


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_by(owner: str, place: Path) -> Path:
    path = place / f"cpu-conformance-{os.getuid()}-{owner.replace(':', '.')}-abc"
    path.mkdir()
    (path / "kubeconfig").touch()
    return path


def test_what_a_killed_run_left_is_swept_and_what_others_use_is_not(place: Path) -> None:
    dead = left_by(processes.identity(0), place)
    elsewhere = left_by("1:2:3", place)
    foreign = place / "cpu-conformance-notes"
    foreign.mkdir()
    with scratch.directory() as mine:
        scratch.sweep()
        assert Path(mine).is_dir()
        assert Path(mine).stat().st_mode & 0o777 == 0o700
    assert not Path(mine).exists()
    assert not dead.exists()
    assert elsewhere.exists(), "of a process in another PID namespace nothing is known"
    assert foreign.exists()
