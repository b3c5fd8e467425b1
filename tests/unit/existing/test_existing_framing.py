"""Bulk reads: content of any kind survives, failures keep their reasons."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from clusters.contract.access import AccessError, Reading
from clusters.kit import framing

MARK = "d1ff1cu17"


def read(*patterns: object) -> Reading:
    return framing.parse_read(run(framing.read_command(MARK), *patterns), MARK)


def run(command: list[str], *patterns: object) -> bytes:
    stdin = framing.dump_patterns([str(pattern) for pattern in patterns])
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def test_any_content_survives(tmp_path: Path) -> None:
    contents = {
        "empty": b"",
        "no newline": b"x",
        "nul": b"a\0b\0\0",
        "looks framed": b"MARK 0 /etc/passwd\0 1 \0",
        "$(odd) 'name'": "ü\n".encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "latin1").write_bytes(b"\xfc")
    found = read(tmp_path / "*")
    expected = {str(tmp_path / name): text.decode() for name, text in contents.items()}
    assert found == Reading({**expected, f"{tmp_path}/latin1": "\\xfc"}, {})


def test_more_files_than_one_batch_holds(tmp_path: Path) -> None:
    for number in range(345):
        (tmp_path / f"f{number}").write_text(str(number))
    found = read(tmp_path / "f*")
    assert found.files == {f"{tmp_path}/f{number}": str(number) for number in range(345)}


def test_an_unreadable_file_keeps_its_reason_and_the_others_their_content(tmp_path: Path) -> None:
    (tmp_path / "fine").write_text("fine")
    found = read(tmp_path / "fine", "/proc/self/mem")
    assert found == Reading({f"{tmp_path}/fine": "fine"}, {"/proc/self/mem": "Input/output error"})


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    assert read(tmp_path / "*", tmp_path / "absent", "/nowhere/*") == Reading({}, {})


@pytest.mark.parametrize("reason", ["No such process", "No such device"])
def test_a_file_that_vanished_is_in_neither(reason: str) -> None:
    output = f"/gone\0\0x{MARK} 1\0cat: /gone: {reason}\n{MARK} 1\0".encode()
    assert framing.parse_read(output, MARK) == Reading({}, {})


@pytest.mark.parametrize("length", [5, 40, 60, -1])
def test_an_answer_that_breaks_off_is_no_answer(tmp_path: Path, length: int) -> None:
    (tmp_path / "f").write_text("content")
    output = run(framing.read_command(MARK), tmp_path / "f")
    with pytest.raises(AccessError, match="breaks off"):
        framing.parse_read(output[:length], MARK)


def test_contents_that_do_not_match_the_paths_are_refused() -> None:
    boot_id = b"b" * 36 + b"\n"
    output = b"/a\0/b\0\0" + boot_id + b"one" + boot_id + f"{MARK} 0\0".encode()
    with pytest.raises(AccessError, match="2 files were read, but not 2 contents"):
        framing.parse_read(output, MARK)


def test_list_names_files_directories_and_broken_links(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    output = run(framing.list_command(), tmp_path / "*", tmp_path / "f*", tmp_path / "absent")
    assert framing.parse_list(output) == tuple(f"{tmp_path}/{n}" for n in ("a b", "file", "link"))


@pytest.mark.parametrize("pattern", ["relative", "/two\nlines", "/nul\0"])
def test_only_absolute_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match="not an absolute path"):
        framing.dump_patterns([pattern])
