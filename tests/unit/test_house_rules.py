"""The rules of the house that a tool can check: layers, style, types, names."""

from __future__ import annotations

import subprocess
import sys
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


def test_bootstrap_is_posix_shell() -> None:
    result = subprocess.run(
        ["/bin/sh", "-n", str(ROOT / "conform")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
