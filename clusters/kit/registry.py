"""Images of an archive, pushed to a registry over its HTTP API.

Sources: opencontainers/distribution-spec, spec.md, "Push"; distribution/docs/spec/auth/token.md.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

from clusters.contract.provider import ClusterError
from clusters.kit.docker_login import login

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Registries that are spoken to in plain HTTP, as Docker does."""
_SECONDS = 60.0
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
Json = dict[str, Any]


def push(archive: Path) -> Iterator[str]:
    """Pushes every image of an OCI archive to the registry that its name says.

    What a registry has already is not sent again.

    Yields:
        The name of each with its digest, when it has been pushed.

    Raises:
        ClusterError: the archive cannot be read, or the registry does not take an image.
    """
    try:
        with tarfile.open(archive) as tar:
            for entry in json.loads(_read(tar, "index.json"))["manifests"]:
                name = str(entry["annotations"]["org.opencontainers.image.ref.name"])
                host, _, path = name.partition("/")
                repository, _, tag = path.rpartition(":")
                _push(_Registry(host, repository), tar, entry, tag)
                yield f"{host}/{repository}@{entry['digest']}"
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{archive} is no archive of images: {error!r}") from error


def _push(registry: _Registry, tar: tarfile.TarFile, entry: Json, tag: str) -> None:
    manifest = _blob(tar, entry)
    described = json.loads(manifest)
    for each in (*described["layers"], described["config"]):
        digest = each["digest"]
        if registry.ask("HEAD", f"blobs/{digest}", good=(200, 404)) == 404:
            registry.upload(digest, _blob(tar, each))
    kind = {"Content-Type": entry["mediaType"]}
    registry.ask("PUT", f"manifests/{tag}", manifest, kind, good=(201,))


def _blob(tar: tarfile.TarFile, described: Json) -> bytes:
    return _read(tar, "blobs/" + str(described["digest"]).replace(":", "/"))


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file")
    return file.read()


class _Registry:
    """One repository of a registry, for as long as one image is pushed to it."""

    def __init__(self, host: str, repository: str) -> None:
        import certifi
        import urllib3

        plain = re.sub(r":\d+$", "", host) in _LOOPBACK
        self._name = f"{host}/{repository}"
        self._host = host
        self._base = f"http{'' if plain else 's'}://{host}/v2/{repository}/"
        self._pool = urllib3.PoolManager(ca_certs=certifi.where(), timeout=_SECONDS)
        self._authorization: dict[str, str] = {}
        self._location = ""

    def upload(self, digest: str, content: bytes) -> None:
        """Sends a blob whole. Raises ClusterError."""
        self.ask("POST", "blobs/uploads/", good=(202,))
        mark = "&" if "?" in self._location else "?"
        place = f"{self._location}{mark}{urlencode({'digest': digest})}"
        kind = {"Content-Type": "application/octet-stream"}
        self.ask("PUT", place, content, kind, good=(201,))

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        good: tuple[int, ...],
    ) -> int:
        """The status of an answer, one of those that are good. Raises ClusterError."""
        url = urljoin(self._base, path)
        answer = self._send(method, url, body, headers or {})
        if answer.status == 401 and self._logged_in(answer.headers.get("WWW-Authenticate", "")):
            answer = self._send(method, url, body, headers or {})
        if answer.status not in good:
            said = answer.data.decode(errors="replace").strip()[:300]
            raise ClusterError(
                f"{self._name} was not pushed: {method} {url} was answered with {answer.status}"
                + (f": {said}" if said else "")
                + ("; `docker login` or `podman login` first" if answer.status == 401 else "")
            )
        self._location = urljoin(url, answer.headers.get("Location", ""))
        return int(answer.status)

    def _send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        from urllib3.exceptions import HTTPError

        # A registry may keep blobs elsewhere; the credentials are for itself alone.
        own = url.split("/")[2] == self._host
        sent = {**headers, **(self._authorization if own else {})}
        try:
            return self._pool.request(method, url, body=body, headers=sent, retries=2)
        except HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise ClusterError(f"{self._name} was not pushed: {reason}") from error

    def _logged_in(self, challenge: str) -> bool:
        """Whether there is now something to show that was not shown before."""
        way, _, rest = challenge.partition(" ")
        basic = self._basic()
        if way.lower() == "basic":
            found = basic
        elif way.lower() == "bearer":
            found = self._token(dict(_CHALLENGE.findall(rest)), basic)
        else:
            found = {}
        new, self._authorization = found != self._authorization, found
        return bool(found) and new

    def _basic(self) -> dict[str, str]:
        try:
            known = login(self._host)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise ClusterError(f"the login of {self._host} cannot be read: {error}") from error
        if known is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(known).encode()).decode()}

    def _token(self, challenge: Mapping[str, str], basic: Mapping[str, str]) -> dict[str, str]:
        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", self._base[: self._base.index("/v2/") + 1])):
            return {}  # a password is not sent in the clear to whoever asks
        query = {name: challenge[name] for name in ("service", "scope") if name in challenge}
        answer = self._pool.request("GET", f"{realm}?{urlencode(query)}", headers=dict(basic))
        if answer.status != 200:
            return {}
        given = json.loads(answer.data)
        return {"Authorization": f"Bearer {given.get('token') or given.get('access_token')}"}
