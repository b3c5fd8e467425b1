"""The command ``kind``: found, or fetched from a pinned release; and run."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.contract.provider import ClusterError, Progress
from clusters.host import cache, download
from clusters.kind.engine import CHOICE

RELEASE = "v0.31.0"
URL = f"https://github.com/kubernetes-sigs/kind/releases/download/{RELEASE}/kind-linux-{{}}"
SHA256 = {
    "amd64": "eb244cbafcc157dff60cf68693c14c9a75c4e6e6fedaf9cd71c58117cb93e3fa",
    "arm64": "8e1014e87c34901cc422a1445866835d1e666f2a61301c27e722bdeab5a1f7e4",
}
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
SIZE_MIB = 16
LAST_WORDS = 20
"""Lines of a failed command that its error shows."""


@dataclass(frozen=True)
class Kind:
    """The command, bound to one engine.

    Attributes:
        path: of the program.
        engine: name of the engine that it shall use.
    """

    path: str
    engine: str

    def do(self, *words: str, progress: Progress | None = None) -> str:
        """Runs a command that must succeed; returns what it wrote to its standard output.

        It runs in a session of its own, so that an interrupt from the terminal reaches only
        this process, which then ends it.

        Args:
            progress: is told each line that it prints for people.

        Raises:
            ClusterError: it failed; its last words are in the message.
        """
        with self._start(words) as process:
            try:
                return _to_end(process, words, progress)
            except BaseException:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                raise

    def delete(self, cluster: str, kubeconfig: Path) -> None:
        """Deletes a cluster; one that is not there is fine.

        An interrupt does not end it: what it began it finishes by itself.

        Raises:
            ClusterError: it failed.
        """
        words = ("delete", "cluster", "--name", cluster, "--kubeconfig", str(kubeconfig))
        _to_end(self._start(words), words, None)

    def clusters(self) -> frozenset[str]:
        """Names of all clusters of the engine."""
        return frozenset(self.do("get", "clusters").split())

    def _start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.path, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if words[0] == "create" else subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, CHOICE: self.engine},
        )


def _to_end(process: subprocess.Popen[str], words: Sequence[str], progress: Progress | None) -> str:
    lines = []
    if progress is not None and process.stdout is not None:
        for line in process.stdout:
            lines.append(line.strip())
            if lines[-1]:
                progress(f"kind: {lines[-1]}")
    stdout, stderr = process.communicate()
    if process.returncode:
        said = [*lines, *stdout.splitlines(), *(stderr or "").splitlines()]
        last = "\n".join([line for line in said if line.strip()][-LAST_WORDS:])
        raise ClusterError(f"`kind {' '.join(words[:2])}` failed:\n{last}")
    return stdout


def find(engine: str, progress: Progress) -> Kind:
    """``kind`` from PATH, else the pinned release in the user's cache, fetched when missing.

    Raises:
        ClusterError: it is nowhere and cannot be fetched.
    """
    found = shutil.which("kind")
    if found is None:
        found = str(_pinned(progress) / "kind")
    return Kind(found, engine)


def _pinned(progress: Progress) -> Path:
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise ClusterError(
            f"kind is not installed, and no release of it is known for {platform.machine()}: "
            "put `kind` on PATH"
        )
    url = URL.format(machine)

    def fetch(directory: Path) -> None:
        path = directory / "kind"
        download.fetch(
            url,
            path,
            "sha256",
            SHA256[machine],
            what=f"kind {RELEASE}",
            instead="install Debian's package `kind` (Debian 13), or put `kind` on PATH",
            progress=progress,
        )
        path.chmod(0o755)

    return cache.kept(
        f"kind-{SHA256[machine][:16]}",
        fetch,
        what=f"kind {RELEASE}",
        need_mib=SIZE_MIB,
        progress=progress,
    )
