"""The image of this tool: what is in it, that it is the same each time, that a registry has it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from clusters.contract.provider import ClusterError
from clusters.harness_image import build, wheels
from clusters.kit import oci_archive
from clusters.kit.oci_archive import ContainerImage, File, Link
from clusters.kit.registry import push
from conformance.deploying.sources import lock, sources

NAME = "registry.example/team/harness:latest"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def debian() -> tarfile.TarFile:
    """A tar as `unpack_packages` writes it, of a few files."""
    files = {
        "usr/bin/busybox": b"busybox",
        "usr/bin/python3.11": b"python",
        "usr/lib/python3.11/os.py": b"import sys",
        "usr/share/doc/python3/copyright": b"not needed",
        f"{LIBRARIES}/libc.so.6": b"c",
        f"{LIBRARIES}/gconv/EBCDIC.so": b"not needed",
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode, info.mtime, info.uid = len(content), 0o755, os.getpid(), 7
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("./usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, "python3.11"
        tar.addfile(link)
    out.seek(0)
    return tarfile.open(fileobj=out)


def made() -> ContainerImage:
    system, python = build.system_files(debian())
    assert python == "3.11"
    return build.image(NAME, system, python, {"yaml/__init__.py": b"x"}, {"conformance/a.py": b"y"})


def test_it_has_what_conform_takes_and_runs_it_as_nobody(tmp_path: Path) -> None:
    image = made()
    assert image.files["/usr/bin/python3"] == Link("python3.11")
    assert image.files["/usr/local/lib/python3.11/dist-packages/yaml/__init__.py"] == File(b"x")
    assert image.files[f"{build.PLACE}/conformance/a.py"] == File(b"y")
    assert image.files["/lib"] == Link("usr/lib")
    assert not [path for path in image.files if "doc" in path or "gconv" in path]
    assert image.user != 0
    assert image.entrypoint == ("/usr/bin/conform",)
    oci_archive.write(tmp_path / "i.tar", [image])
    with layer(tmp_path / "i.tar") as tar:
        assert {(each.uid, each.gid, each.mtime) for each in tar} == {(0, 0, 0)}
        assert tar.getmember("tmp").mode == 0o1777
        # A directory that is a link in the image is none below it.
        assert tar.getmember("lib").issym()


def layer(archive: Path) -> tarfile.TarFile:
    with tarfile.open(archive) as tar:
        (docker,) = json.loads(read(tar, "manifest.json"))
        return tarfile.open(fileobj=io.BytesIO(gzip.decompress(read(tar, docker["Layers"][0]))))


def read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        oci_archive.write(tmp_path / name, [made()])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_debian_without_python_is_named() -> None:
    said = "no busybox or no python3 any more"
    with (
        tarfile.open(fileobj=io.BytesIO(bytes(10240))) as empty,
        pytest.raises(ClusterError, match=said),
    ):
        build.system_files(empty)


def test_the_sources_of_a_checkout_run_by_themselves(tmp_path: Path) -> None:
    found = sources()
    assert not [path for path in found if path.endswith(".pyc")]
    for path, content in found.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    said = subprocess.run(
        [sys.executable, "-m", "conformance", "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commit = found["conformance/COMMIT"].decode().strip()
    assert commit
    assert f"(commit {commit})" in said


# wheels


def test_of_the_lock_everything_is_wanted_but_what_is_for_other_systems() -> None:
    text = lock()
    wanted = wheels.wanted_of(text, "3.11")
    names = re.findall(r"^([\w.-]+)==", wanted, re.MULTILINE)
    assert set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE)) - set(names) == {"colorama"}
    assert " ; " not in wanted
    assert all(re.search(rf"^{re.escape(name)}==.*\\\n +--hash=", wanted, re.M) for name in names)


def test_a_marker_is_read_for_the_python_of_the_image() -> None:
    text = (
        'a==1 ; python_full_version < "3.13" \\\n    --hash=sha256:0\n'
        "b==1 \\\n    --hash=sha256:1\n"
    )
    assert "a==1" in wheels.wanted_of(text, "3.11")
    assert wheels.wanted_of(text, "3.13") == "b==1 \\\n    --hash=sha256:1\n"


def wheel(path: Path, files: Mapping[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_a_wheel_gives_its_packages_and_no_programs(tmp_path: Path) -> None:
    wheel(
        tmp_path / "a-1-py3-none-any.whl",
        {
            "a/__init__.py": "1",
            "a-1.data/purelib/b.py": "2",
            "a-1.data/scripts/c": "3",
            "a-1.dist-info/METADATA": "4",
        },
    )
    found = wheels.files(tmp_path)
    assert found == {"a/__init__.py": b"1", "b.py": b"2", "a-1.dist-info/METADATA": b"4"}


def test_a_wheel_that_reaches_out_of_its_place_is_refused(tmp_path: Path) -> None:
    wheel(tmp_path / "a-1-py3-none-any.whl", {"../a.py": "1"})
    with pytest.raises(ClusterError, match="outside of it"):
        wheels.files(tmp_path)


# a registry


@dataclass
class Registry:
    """A registry, as far as a push goes (distribution-spec, "Push").

    Attributes:
        token: what a push needs; empty when anybody may. It is given for `USER`.
        blobs: by digest. manifests: by repository and tag.
    """

    token: str = ""
    port: int = 0
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    uploads: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


USER = base64.b64encode(b"somebody:secret").decode()


@pytest.fixture
def registry() -> Iterator[Registry]:
    state = Registry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def handle_any(self) -> None:
            asked = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            authorization = self.headers.get("Authorization", "")
            if asked.path == "/token":
                good = authorization == f"Basic {USER}"
                self.answer(200 if good else 401, json.dumps({"token": state.token}).encode())
            elif state.token and authorization != f"Bearer {state.token}":
                challenge = f'Bearer realm="http://{state.host}/token",service="r",scope="s"'
                self.answer(401, WWW_Authenticate=challenge)
            elif asked.path.endswith("/blobs/uploads/") and self.command == "POST":
                state.uploads += 1
                self.answer(202, Location=f"{asked.path}{state.uploads}")
            elif "/blobs/uploads/" in asked.path and self.command == "PUT":
                (digest,) = parse_qs(asked.query)["digest"]
                assert digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
                state.blobs[digest] = body
                self.answer(201)
            elif "/blobs/" in asked.path:
                self.answer(200 if asked.path.rpartition("/")[2] in state.blobs else 404)
            elif "/manifests/" in asked.path and self.command == "PUT":
                referred = json.loads(body)
                for each in (referred["config"], *referred["layers"]):
                    assert each["digest"] in state.blobs, "a manifest comes after its blobs"
                state.manifests[asked.path.removeprefix("/v2/")] = body
                self.answer(201)
            else:
                self.answer(200 if asked.path == "/v2/" else 404)

        do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - as the server calls them

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        state.port = served.server_port
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield state
        served.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Docker has its configuration: nobody is logged in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / ".docker" / "config.json"
    path.parent.mkdir()
    return path


def archive(directory: Path, *names: str) -> Path:
    path = directory / "images.tar"
    oci_archive.write(path, [ContainerImage(name, {"/a": File(name.encode())}) for name in names])
    return path


def test_images_are_pushed_whole_and_told_by_their_digests(
    registry: Registry, tmp_path: Path
) -> None:
    names = [f"{registry.host}/team/{name}:latest" for name in ("one", "two")]
    pushed = list(push(archive(tmp_path, *names)))
    for repository, told in zip(("team/one", "team/two"), pushed, strict=True):
        manifest = registry.manifests[f"{repository}/manifests/latest"]
        digest = hashlib.sha256(manifest).hexdigest()
        assert told == f"{registry.host}/{repository}@sha256:{digest}"
    uploads = registry.uploads
    assert list(push(archive(tmp_path, *names))) == pushed
    assert registry.uploads == uploads, "what is there is not sent again"


def test_docker_s_configuration_says_who_pushes(
    registry: Registry, tmp_path: Path, docker: Path
) -> None:
    registry.token = "t"
    name = f"{registry.host}/team/one:latest"
    with pytest.raises(ClusterError, match=r"/team/one was not pushed: .* 401.*docker login"):
        list(push(archive(tmp_path, name)))
    assert not registry.manifests
    docker.write_text(json.dumps({"auths": {registry.host: {"auth": USER}}}))
    assert list(push(archive(tmp_path, name)))
    assert registry.manifests


def test_a_credential_helper_is_asked(
    registry: Registry, tmp_path: Path, docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.token = "t"
    helper = tmp_path / "docker-credential-safe"
    said = json.dumps({"Username": "somebody", "Secret": "secret"})
    helper.write_text(f"#!/bin/sh\necho '{said}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    docker.write_text(json.dumps({"credsStore": "safe"}))
    assert list(push(archive(tmp_path, f"{registry.host}/team/one:latest")))


def test_a_registry_that_is_not_there_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="was not pushed") as error:
        list(push(archive(tmp_path, "127.0.0.1:1/team/one:latest")))
    assert "\n" not in str(error.value)
