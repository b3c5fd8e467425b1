"""Bundles: judged anywhere as where they were made, and safe to open."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from conformance.collecting.bundle import read, write_run, write_snapshot
from conformance.collecting.foreign import BundleError
from conformance.collecting.packing import REDACTED, pack, unpack
from conformance.judging.report import judge
from tests.selfproof import recording as good
from tests.unit.test_judge import everything


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A report directory."""
    evidence = tmp_path / "out" / "evidence"
    for raw in (good.running(), good.deleted(), good.refused()):
        write_snapshot(evidence, raw)
    write_run(evidence, everything().run)
    (evidence / "logs").mkdir()
    (evidence / "logs" / "demo.compute.log").write_text("password=hunter2")
    return tmp_path / "out"


@pytest.mark.parametrize("without_secrets", [False, True])
def test_a_bundle_is_judged_as_where_it_was_made(
    recorded: Path, tmp_path: Path, without_secrets: bool
) -> None:
    pack(recorded, tmp_path / "run.tar.xz", without_secrets=without_secrets)
    unpack(tmp_path / "run.tar.xz", tmp_path / "there")
    here, there = judge(read(recorded / "evidence")), judge(read(tmp_path / "there" / "evidence"))
    assert there.conclusion == here.conclusion
    assert [f.verdict for f in there.findings] == [f.verdict for f in here.findings]
    assert (tmp_path / "there/evidence/logs").exists() is not without_secrets


def test_secrets_are_gone(recorded: Path, tmp_path: Path) -> None:
    env = [{"name": "TOKEN", "value": "hunter2"}]
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}}
    run = json.loads((recorded / "evidence" / "run.json").read_text())
    run["cases"][0]["beside"] = [secret, {"kind": "Pod", "spec": {"containers": [{"env": env}]}}]
    run["cases"][0]["beside"].append(
        {"status": {"podIP": "10.1.2.3"}, "metadata": {"annotations": {"x.example/y": "hunter2"}}}
    )
    (recorded / "evidence" / "run.json").write_text(json.dumps(run))
    pack(recorded, tmp_path / "run.tar.xz", without_secrets=True)
    unpack(tmp_path / "run.tar.xz", tmp_path / "there")
    text = (tmp_path / "there/evidence/run.json").read_text()
    for private in ("hunter2", "aHVudGVyMg==", "10.1.2.3"):
        assert private not in text
    assert REDACTED in text
    assert "TOKEN" in text


def archive(file: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(file, "w:xz") as made:
        for member, data in members:
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return file


def link(name: str, to: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("/etc/passwd"),
        tarfile.TarInfo("evidence/../../escaped"),
        tarfile.TarInfo("evidence/snapshots/../../../escaped"),
        tarfile.TarInfo("evidence/other/file"),
        tarfile.TarInfo("report.html"),
        link("evidence/run.json", "/etc/passwd", tarfile.SYMTYPE),
        link("evidence/run.json", "/etc/passwd", tarfile.LNKTYPE),
        link("evidence/run.json", "", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name} {member.type!r}",
)
def test_what_no_bundle_holds_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    file = archive(tmp_path / "bad.tar.xz", (member, b"{}" if member.isreg() else b""))
    with pytest.raises(BundleError, match="no bundle"):
        unpack(file, tmp_path / "there")
    assert not (tmp_path / "escaped").exists()


def test_another_file_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("nothing of the kind")
    with pytest.raises(BundleError, match="no bundle"):
        unpack(tmp_path / "x", tmp_path / "there")


def test_a_bundle_is_not_overwritten(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "run.tar.xz").write_text("precious")
    with pytest.raises(FileExistsError):
        pack(recorded, tmp_path / "run.tar.xz", without_secrets=False)
