"""Every command line of README and docs is one that this version takes, and does what it says.

Those that need no cluster are run, in a directory as their reader has it. Of those on the simulated
cluster the ones about a single case are; the others would repeat what other tests run.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import cli
from conformance.exits import Exit
from tests.unit.judged_run import judged

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
NEEDS_NO_CLUSTER = frozenset(
    {"judge", "report", "compare", "explain", "bundle", "matrix", "requirements", "completion"}
)
PRINTS_ONLY = frozenset({"--dry-run", "--list-images"})
PLACEHOLDERS = {"FILE": "vms.yaml", "FAULT": "qos_broken"}
_PART = re.compile(r"\s*(?:\$ )?(?:eval \"\$\()?(?:\./)?conform\s+([^)]*)")


def command_lines() -> Iterator[tuple[str, str]]:
    """(document, words after ``conform``) of every command in a block or a span of code."""
    for document in DOCUMENTS:
        text = document.read_text()
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        # A word alone names a command; what follows it makes it one to type.
        lines += [" ".join(span.split()) for span in re.findall(r"`(\./conform\s[^`]+)`", prose)]
        for line in lines:
            for part in re.split(r"&&|\|", line):
                if found := _PART.match(part):
                    yield document.name, found[1]


LINES = [
    (document, line)
    for document, line in dict.fromkeys(command_lines())
    if len(line.split()) > 1 or line.strip() not in NEEDS_NO_CLUSTER
]


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    return [PLACEHOLDERS.get(word, word) for word in words if word not in {"...", ">", "2>&1"}]


def needs_no_cluster(words: list[str]) -> bool:
    prints = words[0] != "sweep" and PRINTS_ONLY & {*words}
    return words[0] in NEEDS_NO_CLUSTER or bool(prints)


def of_one_case(words: list[str]) -> bool:
    return words[:3] == ["run", "--cluster", "simulated"] and "-k" in words


def test_there_are_commands_to_try() -> None:
    assert len(LINES) > 40
    assert sum(needs_no_cluster(words_of(line)) for _document, line in LINES) > 10
    assert sum(of_one_case(words_of(line)) for _document, line in LINES) == 1


@pytest.mark.parametrize(("document", "line"), LINES, ids=lambda text: text[:60])
def test_a_documented_command_is_understood(document: str, line: str) -> None:
    try:
        parsed = cli._parser().parse_args(words_of(line))
    except SystemExit as end:
        pytest.fail(f"{document}: conform {line}: exit code {end.code}")
    assert parsed.command is not None


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader of the documents has by then: two runs, a bundle, manifests."""
    directory = tmp_path_factory.mktemp("reader")
    judged(directory / "reports-out.1", case="isolate-io")
    judged(directory / "reports-out", "sabotaged", case="isolate-io")
    cli.main(["bundle", str(directory / "reports-out"), "-o", str(directory / "run.tar.xz")])
    shutil.copy(Path(__file__).with_name("users_manifests.yaml"), directory / "vms.yaml")
    (directory / "A").symlink_to("reports-out.1")
    (directory / "B").symlink_to("reports-out")
    return directory


RUN = [each for each in LINES if needs_no_cluster(words_of(each[1]))]


@pytest.mark.parametrize(("document", "line"), RUN, ids=lambda text: text[:60])
def test_a_documented_command_does_something(
    document: str,
    line: str,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(prepared, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    words = words_of(line)
    if words[0] == "bundle":
        Path("run.tar.xz").unlink()
    try:
        code = cli.main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    known = (Exit.CONFORMANT, Exit.NOT_CONFORMANT, Exit.INCONCLUSIVE)
    assert code in known, f"{document}: conform {line}: {said.err}"
    assert said.out or words[0] == "bundle"


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    "line", [line for _document, line in LINES if of_one_case(words_of(line))], ids=str
)
def test_a_documented_run_of_one_case_ends_as_the_document_says(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words_of(line)) == Exit.NOT_CONFORMANT
    readme = (ROOT / "README.md").read_text()
    first = next(each for each in capfd.readouterr().out.splitlines() if each.startswith("FAIL "))
    assert first in readme
    assert (tmp_path / "reports-out" / "report.html").exists()
