"""Options that one command line hands on to another."""

from __future__ import annotations

import argparse

import pytest

from conformance import options

ALL = (*options.SPEC, *options.RUN)


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.declare(parser.add_argument, ALL)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--shape", "no-smt", "--profile", "v1alpha2", "--patience", "2.5"],
        ["--break", "qos_broken", "--break", "vcpus_not_pinned"],
        ["--disruptive", "--kubeconfig", "a b", "--keep", "always"],
        ["--matrix", "mine.yaml", "--report-dir", "else where"],
        ["--insist", "asked"],
    ],
)
def test_what_is_handed_on_says_the_same(words: list[str]) -> None:
    given = parsed(words)
    handed_on = options.forwarded(given, ALL)
    assert parsed(handed_on) == given
    assert len(handed_on) == len(words), "what nobody asked for is not spelled out"


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ("embedded", ["--kubeconfig", "prod"]),
        ("simulated", ["--disruptive"]),
        ("kind", ["--node-ssh", "ssh x"]),
        ("existing", ["--images", "archives"]),
        ("embedded", ["--workers", "2"]),
        ("kind", ["--kubernetes", "bin"]),
        ("existing", ["--shape", "no-smt"]),
        ("virtual", ["--break", "qos_broken"]),
    ],
)
def test_what_another_kind_of_cluster_is_asked_for_is_refused(
    cluster: str, words: list[str]
) -> None:
    # Else the wrong cluster would be judged, and found conformant.
    given = parsed(words)
    with pytest.raises(ValueError, match=f"{words[0]} is for --cluster .*, not for {cluster}"):
        options.cluster_spec({**vars(given), "cluster": cluster}.__getitem__)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "long"])
def test_patience_is_a_number_above_0(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(["--patience", text])
    assert "is no number above 0" in capsys.readouterr().err


def test_the_command_line_is_recorded_without_secrets() -> None:
    given = {
        **vars(parsed(["--node-ssh", "sshpass -p hunter2 ssh {address}", "--insist", "kept"])),
        "cluster": "existing",
    }
    said = options.command_line(given.__getitem__, keyword="a or b", at_once=3)
    assert said == "conform run --cluster existing --node-ssh ... --insist kept -n 3 -k 'a or b'"
    assert "hunter2" not in said


@pytest.mark.parametrize("text", ["all", "ASKED", ""])
def test_a_gate_insists_on_what_is_known(text: str) -> None:
    with pytest.raises(SystemExit):
        parsed(["--insist", text])


class Foreign:
    """Another plugin of pytest, which has some of our names."""

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        parser.addoption("--workers", type=int, default=7)
        parser.addoption("--profile", action="store_true")


def test_options_of_other_plugins_are_left_to_them() -> None:
    parser = pytest.Parser(_ispytest=True)
    Foreign().pytest_addoption(parser)
    options.declare_to_pytest(parser.getgroup("conformance").addoption, ALL)
    words = ["--workers", "3", "--profile", "--conform-profile", "v1alpha2", "--shape", "no-smt"]
    given = parser.parse(words)
    assert (given.workers, given.profile) == (3, True)
    value = options.pytest_value(lambda name: getattr(given, name))
    assert (value("workers"), value("profile"), value("shape")) == (1, "v1alpha2", "no-smt")
    assert parser.parse(["--conform-shape", "no-smt"]).conform_shape == "no-smt"
