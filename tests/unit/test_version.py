"""Which version of the tool a report names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conformance import version as module

ROOT = Path(__file__).parents[2]


def test_a_checkout_tells_its_commit() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    found = subprocess.run(
        ("git", "-C", str(ROOT), "rev-parse", "HEAD"), capture_output=True, text=True, check=True
    )
    commit = module.version().partition("(commit ")[2].split(")")[0].split(",")[0]
    assert found.stdout.startswith(commit.rpartition("-g")[2])
    assert commit


@pytest.mark.parametrize("missing", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 5)])
def test_without_git_the_number_must_do(
    monkeypatch: pytest.MonkeyPatch, missing: Exception
) -> None:
    def run(*_: object, **__: object) -> None:
        raise missing

    monkeypatch.setattr(subprocess, "run", run)
    module.version.cache_clear()
    try:
        assert "commit" not in module.version()
    finally:
        module.version.cache_clear()


def test_an_installed_package_has_its_number_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    module.version.cache_clear()
    try:
        assert "commit" not in module.version()
    finally:
        module.version.cache_clear()
