"""Kinds of cluster describe themselves, so that a new one is a folder and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clusters import providers
from clusters.contract.describing import SHAPE
from conformance import options

ROOT = Path(__file__).parents[2]

SIXTH = {
    "__init__.py": "",
    "description.py": """
from clusters.contract.describing import Description, Option

DESCRIPTION = Description(
    "sixth",
    "a kind of cluster that nobody knew",
    options=(Option("--colour", "of its nodes", {"default": "grey", "metavar": "NAME"}),),
    at_once=0,
)
""",
    "provider.py": """
from dataclasses import replace
from pathlib import Path

from clusters import providers

simulated = providers.provider("simulated")


class Sixth:
    def up(self, name, spec, directory, *, progress, detached):
        progress(f"its nodes are {spec.options['colour']}")
        spec = replace(spec, options={})
        made = simulated.up(name, spec, directory, progress=progress, detached=detached)
        return replace(made, provider="sixth")

    connect = staticmethod(simulated.connect)
    alive = staticmethod(simulated.alive)
    down = staticmethod(simulated.down)


PROVIDER = Sixth()
""",
}
START = """
import sys
import clusters
clusters.__path__.append(sys.argv.pop(1))
from conformance.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A directory with the folder of a sixth provider."""
    folder = tmp_path / "more" / "sixth"
    folder.mkdir(parents=True)
    for name, text in SIXTH.items():
        (folder / name).write_text(text)
    return folder.parent


def conform(room: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START, str(room), *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_folder_makes_a_kind_of_cluster(room: Path, tmp_path: Path) -> None:
    words = ["run", "--cluster", "sixth", "--colour", "green", "-k", "no-threads-3"]
    run = conform(room, *words, "--report-dir", str(tmp_path / "reports"))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "its nodes are green" in run.stdout
    report = json.loads((tmp_path / "reports" / "report.json").read_text())
    assert report["cluster"]["provider"] == "sixth"
    assert "--cluster sixth --colour green" in report["run"]["command"]
    assert "shape" not in report["selection"] or not report["selection"]["shape"]


def test_its_options_are_nobody_elses(room: Path) -> None:
    refused = conform(room, "up", "--cluster", "simulated", "--colour", "green")
    assert refused.returncode == 3
    assert "--colour is for --cluster sixth, not for simulated" in refused.stderr
    help_ = conform(room, "run", "--help").stdout
    assert "--colour NAME" in help_
    assert "a kind of cluster that nobody knew" in " ".join(help_.split())
    shaped = conform(room, "run", "--cluster", "sixth", "--shape", "all")
    assert shaped.returncode == 3


def test_each_is_described_by_the_name_of_its_folder() -> None:
    assert set(providers.DESCRIPTIONS) >= {"embedded", "existing", "kind", "simulated", "virtual"}
    for name, description in providers.DESCRIPTIONS.items():
        assert description.name == name
        assert description.purpose
        assert hasattr(providers.provider(name), "up")
        assert description.made or SHAPE not in description.options


def test_what_is_shared_is_declared_once() -> None:
    own = [option.name for option in (options.CLUSTER, *options.SPEC, *options.RUN)]
    assert len(own) == len(set(own)), "two options of one name"


def test_to_describe_takes_no_library() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, conformance.cli; print(*sys.modules)"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "clusters.kind.description" in loaded
    assert not {"aiohttp", "filelock", "kubernetes", "pytest", "tenacity", "yaml"} & set(loaded)
    assert not any(name.endswith(".provider") and "contract" not in name for name in loaded)


def test_without_a_name_there_is_a_cluster() -> None:
    assert providers.DEFAULT in providers.DESCRIPTIONS
    assert "embedded: the reference stack" in options.CLUSTER.help
