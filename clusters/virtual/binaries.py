"""The Kubernetes that is run: programs of a directory, or of a pinned release; and etcd."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from clusters.contract.provider import ClusterError, Progress
from clusters.virtual import release

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
KUBELET = "kubelet"
ETCD = "etcd"
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Binaries:
    """Paths of everything that is run.

    Attributes:
        directory: with the programs of Kubernetes.
        etcd: from that directory, or this host's.
    """

    directory: Path
    etcd: Path

    @property
    def kubelet(self) -> Path:
        """The only one that runs on the nodes."""
        return self.directory / KUBELET

    def __getitem__(self, name: str) -> str:
        return str(self.directory / name)


def find(directory: str | None, progress: Progress) -> Binaries:
    """The programs of that directory, else of a release that is fetched once.

    etcd is that directory's, else this host's, else its distribution's.

    Args:
        progress: is told what is fetched.

    Raises:
        ClusterError: the directory is not there or lacks programs, all of which are named;
            or something cannot be fetched.
    """
    names = (*CONTROL_PLANE, KUBELET)
    if directory is None:
        path = release.kubernetes(names, progress)
    else:
        path = Path(directory).absolute()
        if not path.is_dir():
            raise ClusterError(f"--kubernetes {directory}: there is no such directory")
    missing = [name for name in names if not _usable(path / name)]
    if missing:
        raise ClusterError(
            f"--kubernetes {directory} has no executable {', '.join(missing)}: the server "
            f"archive of a Kubernetes release has them in {release.PROGRAMS}"
        )
    own = path / ETCD
    found = str(own) if _usable(own) else shutil.which(ETCD)
    return Binaries(path, Path(found) if found else release.etcd(progress))


def version(binaries: Binaries) -> str:
    """The API server's version, such as ``v1.34.2``.

    Raises ClusterError when the program cannot run here.
    """
    program = binaries[CONTROL_PLANE[0]]
    try:
        ended = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
        said = ended.stdout + ended.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    known = re.search(r"Kubernetes (v\S+)", said)
    if known is None:
        raise ClusterError(
            f"{program} does not tell its version ({said.strip()[:200]}): is it a program for "
            "Linux on this machine's processor?"
        )
    return known[1]


def _usable(path: Path) -> bool:
    return path.is_file() and path.stat().st_mode & 0o111 != 0
