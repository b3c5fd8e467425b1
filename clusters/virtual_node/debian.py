"""Debian packages without Debian's installer: what of them is unpacked, and where from."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clusters.provider import ClusterError, Progress

FALLBACK_SUITE = "bookworm"
APT_SOURCE = "$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
STEP = re.compile(r"I: ((?:running apt-get|downloading|extracting|automatically chosen mode).*)")


def host_suite() -> str:
    """The Debian suite to build from: this host's own where it is Debian."""
    release = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    debian = re.search(r"^ID=debian$", release, re.MULTILINE)
    return found[1] if debian and found else FALLBACK_SUITE


def sources(suite: str) -> list[str]:
    """Apt's own sources of Debian, for that suite; none where mmdebstrap's default will do."""
    if shutil.which("apt-get") is None:
        return []
    own = host_suite()
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", APT_SOURCE, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = {
        source.replace(f" {own}", f" {suite}")
        for origin, _, source in (line.partition("|") for line in listed.splitlines())
        if origin == "Debian" and re.search(rf" {own}(-updates|-security)? ", source)
    }
    # Without an index of the suite itself, apt has not been updated here.
    complete = any(f" {suite} main" in source for source in found)
    return sorted(found) if complete else []


def unpack(
    suite: str,
    packages: Sequence[str],
    hook: Callable[[Path], str],
    *,
    directory: Path,
    keep: Callable[[Path], None],
    progress: Progress,
) -> None:
    """Unpacks packages and what they depend on; none of their scripts is run.

    Args:
        suite: Debian's name of the release.
        packages: their names.
        hook: a shell command that is given the unpacked root as ``$1`` and leaves what is
            wanted in the directory that is given here.
        directory: where to work, when this is root.
        keep: takes what is wanted from that directory; afterwards it is gone.
        progress: is told each step.

    Raises:
        ClusterError: mmdebstrap is missing or failed; quotes its last lines.
    """
    # Without root the packages are unpacked by other user ids, which need a way in; a home
    # directory may bar it. With root, what a killed run leaves is removed with the directory.
    where = directory if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="virtual-node-", dir=where) as work:
        Path(work).chmod(0o755)
        room = Path(work) / "room"
        room.mkdir()
        room.chmod(0o1777)
        merged = "; ".join(
            ['set -e; cd "$1"; mkdir -p usr/bin usr/sbin usr/lib usr/lib64']
            + [f"ln -s usr/{name} {name}" for name in ("bin", "sbin", "lib", "lib64")]
        )
        apt_sources = sources(suite)
        tool(
            [
                *("setpriv", "--pdeathsig", "TERM", "mmdebstrap"),
                *("--variant=extract", "--format=null", "--architectures=amd64"),
                f"--include={','.join(packages)}",
                "--aptopt=Apt::Install-Recommends false",
                f"--setup-hook={merged}",
                f"--extract-hook={hook(room)}",
                suite,
                # The target is none; after it come sources of packages, from standard input.
                "-",
                *(["-"] if apt_sources else []),
            ],
            package="mmdebstrap",
            stdin="\n".join(apt_sources) + "\n",
            environment={**os.environ, "TMPDIR": str(room)},
            progress=progress,
        )
        keep(room)


def copy(source: Path, destination: Path) -> None:
    """Copies a file, its holes as holes."""
    tool(
        ["cp", "--sparse=always", "--reflink=auto", "--no-preserve=all", source, destination],
        package="coreutils",
    )


def tool(
    command: Sequence[str | Path],
    *,
    package: str,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> str:
    """Runs a tool to its end; returns what it wrote to stderr. Raises ClusterError."""
    # Some of them are for root, and are not on everybody's path.
    variables = os.environ if environment is None else environment
    missing = ClusterError(
        f"{package} is missing on this host: apt-get install --no-install-recommends {package}"
    )
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**variables, "PATH": f"{variables.get('PATH', '')}:/usr/sbin:/sbin"},
        )
    except FileNotFoundError:
        raise missing from None
    assert process.stdin is not None
    assert process.stderr is not None
    with process:
        # A tool that ends before it has read says why on stderr.
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(stdin)
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip())
            if progress is not None and (step := STEP.match(line)):
                progress(f"mmdebstrap: {step[1]}")
    if process.returncode == 127:  # setpriv's, for a command that is not there
        raise missing
    if process.returncode:
        tail = "\n".join(lines[-8:])
        raise ClusterError(f"{package} failed:\n{tail}")
    return "\n".join(lines)
