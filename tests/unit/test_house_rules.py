"""The rules of the house that a tool can check: layers, style, types, names."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "tool",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("importlinter.cli",),
    ],
    ids=["style", "format", "types", "layers"],
)
def test_tool_is_content(tool: tuple[str, ...]) -> None:
    command = (
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
        if tool[0] == "importlinter.cli"
        else [sys.executable, "-m", *tool]
    )
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("script", ["conform", ".ci/prepare", ".ci/lock", ".ci/run"])
def test_bootstrap_is_posix_shell(script: str) -> None:
    result = subprocess.run(
        ["/bin/sh", "-n", str(ROOT / script)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_locks_are_of_what_pyproject_names() -> None:
    """Every dependency is locked, in the lock of its group and in no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"]}
    groups |= {f"-{name}": names for name, names in project["optional-dependencies"].items()}
    locked = {group: set(_locked(ROOT / f".ci/requirements{group}.lock")) for group in groups}
    for group, names in groups.items():
        assert {name.lower() for name in names} <= locked[group], group
    every = [name for names in locked.values() for name in names]
    assert len(every) == len(set(every))


def _locked(path: Path) -> list[str]:
    return re.findall(r"^([\w.-]+)==", path.read_text(), re.MULTILINE)
