"""What is sent to a node and how its answers are read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from clusters.contract.access import AccessError, Reading
from clusters.virtual_node import shell
from clusters.virtual_node.shell import CommandError, Commands

MARK = "0123456789abcdef0123456789abcdef"
COMMANDS = Commands(
    node="node-1",
    control_path="/run/n/ssh",
    identity_file="/run/n/key",
    known_hosts="/run/n/known_hosts",
    port=2222,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets this host play the node; the directory holds the node's files."""
    mark = tmp_path / "mark"
    mark.write_text(MARK)
    cat = tmp_path / "cat"
    cat.symlink_to("/bin/cat")
    monkeypatch.setattr(shell, "MARK", str(mark))
    monkeypatch.setattr(shell, "CAT", str(cat))
    files = tmp_path / "files"
    files.mkdir()
    return files


def read(*patterns: str) -> Reading:
    command, stdin = shell.carried(shell.read_script(patterns))
    ended = subprocess.run(
        ["sh", "-c", command], input=stdin, capture_output=True, check=False, env={"LC_ALL": "C"}
    )
    return shell.parse_read(ended.stdout, ended.stderr.decode())


def test_every_kind_of_content_comes_through_unchanged(here: Path) -> None:
    contents = {
        "empty": "",
        "line": "0-5\n",
        "no newline": "0-5",
        "nul": "qemu\0-name\0",
        "looks like an answer": f"{here}/line\0\0==> x <==\ncat: y: No such file or directory\n",
    }
    for name, content in contents.items():
        (here / name).write_text(content)

    reading = read(f"{here}/*")

    assert dict(reading.files) == {f"{here}/{name}": text for name, text in contents.items()}
    assert not reading.unreadable


def test_bytes_that_are_no_utf8_are_shown(here: Path) -> None:
    (here / "raw").write_bytes(b"a\xff")
    assert read(f"{here}/raw").files == {f"{here}/raw": "a\\xff"}


def test_names_with_shell_characters_are_names(here: Path) -> None:
    for name in ("a b", "$(id)", "it's", "x;y"):
        (here / name).write_text(name)
    asked = read(*(f"{here}/{name}" for name in ("a b", "$(id)", "it's", "x;y")))
    assert {path.rpartition("/")[2] for path in asked.files} == {"a b", "$(id)", "it's", "x;y"}


def test_what_is_not_there_is_neither_read_nor_unreadable(here: Path) -> None:
    (here / "directory").mkdir()
    reading = read(f"{here}/*", f"{here}/none", "/proc/1073741824/status")
    assert (dict(reading.files), dict(reading.unreadable)) == ({}, {})


def test_an_unreadable_file_is_reported_with_its_reason(here: Path) -> None:
    # Opens, and refuses to be read: the kernel says EIO or EINVAL even to root.
    reading = read("/proc/self/mem", "/proc/self/comm")
    assert reading.unreadable == {"/proc/self/mem": "Input/output error"}
    assert list(reading.files) == ["/proc/self/comm"]


@pytest.mark.parametrize("itself", ["/usr/lib/virtual-node/cat", "cat"])
def test_what_failed_is_told_however_cat_names_itself(itself: str) -> None:
    mark = b"m" * shell.MARK_BYTES
    output = b"/gone\0/locked\0/there\0\0" + mark + mark + mark + b"text" + mark
    errors = f"{itself}: /gone: No such file or directory\n{itself}: /locked: Permission denied\n"
    reading = shell.parse_read(output, errors)
    assert reading.files == {"/there": "text"}
    assert reading.unreadable == {"/locked": "Permission denied"}


def test_more_patterns_than_an_argument_holds(here: Path) -> None:
    wanted = [f"{here}/{number:0100d}" for number in range(2000)]
    for path in wanted[::100]:
        Path(path).write_text(path)
    assert dict(read(*wanted).files) == {path: path for path in wanted[::100]}


@pytest.mark.parametrize("cut", [0, 5, 40, 60])
def test_an_answer_that_breaks_off_is_an_error(cut: int) -> None:
    whole = b"/a\0/b\0\0" + MARK.encode() + b"one" + MARK.encode() + b"two" + MARK.encode()
    assert shell.parse_read(whole, "").files == {"/a": "one", "/b": "two"}
    with pytest.raises(AccessError, match="breaks off: node fell over"):
        shell.parse_read(whole[:cut], "node fell over\n")


@pytest.mark.parametrize("pattern", ["relative", "/a\nb", "/a\0b", ""])
def test_a_pattern_that_is_no_absolute_path_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="not an absolute path"):
        shell.read_script([pattern])


def test_list_finds_files_and_directories(here: Path) -> None:
    (here / "b").mkdir()
    (here / "a b").touch()
    (here / "dangling").symlink_to("/nowhere")
    script = shell.list_script([f"{here}/*", f"{here}/none"])
    listed = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert listed.stdout.split("\0") == [
        *(f"{here}/{name}" for name in ("a b", "b", "dangling")),
        "",
    ]


def test_a_command_of_arguments_is_quoted_and_a_script_is_not() -> None:
    assert COMMANDS.run(["echo", "a b"])[-2:] == ["root@127.0.0.1", "echo 'a b'"]
    assert COMMANDS.run("echo a b; true")[-1] == "echo a b; true"


def test_a_failed_command_names_itself_its_status_and_its_words() -> None:
    with pytest.raises(CommandError, match=r"on node node-1, `crun start x` ended with 1: no such"):
        COMMANDS.done(["crun", "start", "x"], 1, b"", b"no such container\n", check=True)


def test_a_failure_that_is_not_checked_is_an_answer() -> None:
    done = COMMANDS.done("false", 255, b"out", b"err", check=False)
    assert (done.returncode, done.text, done.stderr) == (255, "out", "err")


@pytest.mark.parametrize(
    "words",
    [
        "ssh: connect to host 127.0.0.1 port 2222: Connection refused",
        "mux_client_request_session: read from master failed: Broken pipe",
        "Connection closed by 127.0.0.1 port 2222",
    ],
)
def test_a_node_that_does_not_answer_is_no_failed_command(words: str) -> None:
    with pytest.raises(AccessError, match="node node-1 does not answer") as caught:
        COMMANDS.done("true", 255, b"", words.encode(), check=True)
    assert not isinstance(caught.value, CommandError)
