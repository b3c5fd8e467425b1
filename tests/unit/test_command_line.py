"""Command lines that were mistyped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.host import rundir
from conformance.cli import main
from conformance.exits import ENDING, ends_like_an_interrupt
from conformance.version import NUMBER, version


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["runn"], "did you mean run?"),
        (["run", "--clustr", "simulated"], "did you mean --cluster?"),
        (["run", "--clustr=simulated"], "did you mean --cluster?"),
        (["run", "--cluster", "simulatd"], "did you mean simulated?"),
        (["run", "--break", "vcpus_not_pined"], "did you mean vcpus_not_pinned?"),
        (["matrix", "--formt", "yaml"], "did you mean --format?"),
        (["matrix", "standrd"], "did you mean standard?"),
        (["requirements", "PIN-THREDS"], "did you mean PIN-THREADS?"),
        (["--versoin"], "did you mean --version?"),
        (["run", "--clus", "simulated"], "unrecognized arguments"),
    ],
    ids=" ".join,
)
def test_what_may_have_been_meant_is_said(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(words)
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 3
    assert meant in capsys.readouterr().err


def test_nothing_alike_is_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["zzz"])
    assert "did you mean" not in capsys.readouterr().err


def test_without_a_command_there_is_help_and_no_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 3
    assert "bring a cluster up" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"conform {version()}\n"
    assert version().startswith(NUMBER)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_can_be_told_every_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("guest-image", "simulated", "vcpus_not_pinned", "no-smt"):
        assert word in script


@pytest.fixture
def handlers() -> Iterator[None]:
    former = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_hang_up_ends_a_run_unless_it_is_to_be_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ends_like_an_interrupt()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, "as below nohup"
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    ends_like_an_interrupt()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)


@pytest.mark.parametrize(
    ("started_as", "installed", "word"),
    [
        ("/opt/it/conform", False, "/opt/it/conform"),
        (None, False, "./conform"),
        (None, True, "conform"),
    ],
)
def test_what_to_do_next_is_said_in_words_that_work(
    started_as: str | None,
    installed: bool,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CONFORM", raising=False)
    if started_as is not None:
        monkeypatch.setenv("CONFORM", started_as)
    if installed:
        monkeypatch.setattr("clusters.host.started.PREPARE", tmp_path / ".ci" / "prepare")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ClusterError, match=f"`{word} status` lists them"):
        rundir.find("nowhere")
