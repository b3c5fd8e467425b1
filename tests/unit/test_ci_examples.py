"""The examples for CI systems are YAML of the right form, and their commands are understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance import cli

EXAMPLES = Path(__file__).parents[2] / "docs" / "ci"
NAMES = ("github-actions", "gitlab-ci", "prow", "sonobuoy-plugin", "tekton")
KNOWN: Mapping[str, frozenset[str]] = {
    # What each system calls what stands at the top of its file.
    "github-actions": frozenset({"name", "on", "permissions", "jobs"}),
    "gitlab-ci": frozenset({"cpu-conformance"}),
    "prow": frozenset({"periodics"}),
    "sonobuoy-plugin": frozenset({"podSpec", "sonobuoy-config", "spec"}),
    "tekton": frozenset({"apiVersion", "kind", "metadata", "spec"}),
}


def read(name: str) -> Any:
    # As YAML 1.2 has it, which these systems read: `on` is a word.
    text = (EXAMPLES / f"{name}.yaml").read_text()
    return yaml.safe_load(re.sub(r"^on:", '"on":', text, flags=re.MULTILINE))


def commands(value: Any) -> Iterator[list[str]]:
    """Words after ``conform``, of scripts and of containers."""
    if isinstance(value, dict):
        image = str(value.get("image", ""))
        if "args" in value and "harness" in image:
            yield [str(each) for each in value["args"]]
        for each in value.values():
            yield from commands(each)
    elif isinstance(value, list):
        for each in value:
            yield from commands(each)
    elif isinstance(value, str):
        for found in re.findall(r"^\s*(?:\./)?conform (.*)$", value, re.MULTILINE):
            yield shlex.split(found)


def test_every_example_is_known_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_of_its_system_s_form_and_its_command_is_understood(name: str) -> None:
    found = read(name)
    assert set(found) == KNOWN[name]
    lines = list(commands(found))
    assert lines
    for words in lines:
        parsed = cli._parser().parse_args(words)
        assert parsed.command is not None
        if words[0] == "run":
            assert parsed.cluster == "existing", "the default would bring up virtual nodes"


def test_sonobuoy_finds_what_the_harness_writes() -> None:
    plugin = read("sonobuoy-plugin")
    assert plugin["sonobuoy-config"]["result-format"] == "junit"
    assert plugin["sonobuoy-config"]["result-files"] == ["junit.xml"]
    (mount,) = plugin["spec"]["volumeMounts"]
    from conformance.delivering import sonobuoy

    assert mount["mountPath"] == sonobuoy._DEFAULT_DIRECTORY


def test_secrets_of_a_workflow_are_no_words_of_a_command() -> None:
    for words in commands(read("github-actions")):
        assert "secrets." not in " ".join(words)
