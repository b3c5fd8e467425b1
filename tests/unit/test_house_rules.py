"""The rules of the house that a tool can check: layers, style, types, names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.model import vocabulary

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


JUDGE = ("conformance", "fixtures", "reports")
LABEL = re.compile(r"[a-z.]*kube(virt|rnetes)\.io/(?!v\d)[A-Za-z]")


def _names() -> set[str]:
    """Everything that the vocabulary spells and that means nothing else elsewhere."""
    one = {value for value in vars(vocabulary).values() if isinstance(value, str)}
    own = {vocabulary.V1ALPHA2, vocabulary.COMPUTE, *vocabulary.CAPABILITIES} - _ALSO_FIELDS
    return own | {each for each in one if LABEL.match(each)} | set(vocabulary.CPU_MANAGER_LABELS)


_ALSO_FIELDS = {
    *(vocabulary.NUMA, vocabulary.SMT, vocabulary.HUGEPAGES, vocabulary.LIBVIRT),
    vocabulary.REALTIME,
}
"""Words that are fields of a VMI, or features, as well."""
_MOMENTS = {
    *(vocabulary.RUNNING, vocabulary.REFUSED, vocabulary.DELETED),
    *(vocabulary.EVERY_NODE, vocabulary.ABORTED, vocabulary.SCENARIO),
}


def _spelt(path: Path) -> Iterator[str]:
    """Names that a module spells itself; docstrings may."""
    tree = ast.parse(path.read_text())
    told = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            if node.value in _names() or LABEL.search(node.value):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        elif moment := _moment(node):
            yield f"{path.relative_to(ROOT)}:{moment.lineno}: {moment.value!r}"


def _moment(node: ast.AST) -> ast.Constant | None:
    """A moment that is spelt where one is given or compared."""
    match node:
        case ast.keyword(arg="moment", value=ast.Constant() as spelt):
            return spelt if spelt.value in _MOMENTS else None
        case ast.Compare(ast.Attribute(attr="moment"), _, [ast.Constant() as spelt]):
            return spelt if spelt.value in _MOMENTS else None
    return None


def test_the_judge_spells_each_name_once() -> None:
    """A label that KubeVirt renames is changed in one place."""
    own = ROOT / "conformance/model/vocabulary.py"
    modules = [each for room in JUDGE for each in sorted((ROOT / room).rglob("*.py"))]
    assert own in modules
    assert list(_spelt(own))
    assert [each for path in modules if path != own for each in _spelt(path)] == []


def test_clusters_spell_each_label_once() -> None:
    """But for the reference stack, which is a witness of its own."""
    modules = sorted((ROOT / "clusters").rglob("*.py"))
    own = [each for each in modules if "reference" not in each.parts]
    spelt = Counter(
        each.rpartition(" ")[2]
        for path in own
        for each in _spelt(path)
        if LABEL.search(each) or each.endswith(vocabulary.CPUMANAGER)
    )
    assert {each: times for each, times in spelt.items() if times > 1} == {}


LINES = 400
"""Of a module; one that has more says why in its docstring."""
WHY = "\nLonger than 400 lines: "


def test_no_module_is_long_without_a_reason() -> None:
    """Nor does one give a reason that it does not need any more."""
    rooms = ("conformance", "fixtures", "clusters/kit")
    modules = [each for room in rooms for each in sorted((ROOT / room).rglob("*.py"))]
    assert modules
    for path in modules:
        text = path.read_text()
        told = WHY in (ast.get_docstring(ast.parse(text)) or "")
        assert told == (len(text.splitlines()) > LINES), path.relative_to(ROOT)
