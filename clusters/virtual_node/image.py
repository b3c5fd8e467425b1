"""What a virtual node boots from: kernel, initial RAM file system, root file system.

Two layers, both kept in the cache. The *base* is made of Debian packages by mmdebstrap and
takes a minute. The *image* is a copy of it into which the node's few own files and those of
the caller are written; that takes a second.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.contract.provider import ClusterError, Progress
from clusters.host import cache, scratch
from clusters.virtual_node import kernel
from clusters.virtual_node.tools import run

HERE = Path(__file__).parent
FALLBACK_SUITE = "bookworm"
OS_RELEASE = Path("/etc/os-release")
BASE_MIB = 3072
IMAGE_MIB = 1536
ROOM_MIB = 512
"""That an image has in any case (assemble.sh leaves 768)."""
GUEST_KERNEL = "/usr/lib/virtual-node/vmlinux"
"""Where the node has an uncompressed kernel for machines of its own."""

BASICS = (
    "busybox-static",
    "coreutils",
    "crun",
    "linux-image-cloud-amd64",
    "openssh-server",
    "perl-base",
    "util-linux",
)
"""What every virtual node is made of."""
PACKAGES = (
    *BASICS,
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "qemu-system-x86",
)
"""With a libvirt and a QEMU of its own, for nested guests."""

APT_SOURCE = "$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)"

ETC: Mapping[str, bytes] = {
    "/etc/passwd": b"""\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
sshd:x:100:65534::/run/sshd:/bin/false
libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false
""",
    "/etc/group": b"""\
root:x:0:
tty:x:5:
kvm:x:106:
libvirt:x:108:
libvirt-qemu:x:64055:
nogroup:x:65534:
""",
    "/etc/shadow": b"root:*:19000::::::\n",
    "/etc/nsswitch.conf": b"passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    "/etc/hosts": b"127.0.0.1 localhost\n",
    "/etc/ssh/sshd_config": b"""\
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
PidFile /run/sshd.pid
UsePAM no
UseDNS no
StrictModes no
PrintMotd no
PrintLastLog no
MaxSessions 100000
MaxStartups 1000
AllowStreamLocalForwarding yes
Subsystem sftp internal-sftp
""",
}


@dataclass(frozen=True)
class Image:
    """What a virtual node boots from, in the cache; never modified.

    Attributes:
        directory: where it is.
        key: hash of everything that went in.
    """

    directory: Path
    key: str

    @property
    def root(self) -> Path:
        """The root file system, an ext4 image that is mounted read-only."""
        return self.directory / "root.img"

    @property
    def kernel(self) -> Path:
        """The uncompressed kernel, entered by PVH."""
        return self.directory / "vmlinux"

    @property
    def initrd(self) -> Path:
        """The initial RAM file system."""
        return self.directory / "initrd"

    @property
    def identity_file(self) -> Path:
        """The ssh private key that the node accepts."""
        return self.directory / "client_key"

    @property
    def known_hosts(self) -> Path:
        """The node's host key, for the host alias ``virtual-node``."""
        return self.directory / "known_hosts"


def build(
    extra_files: Mapping[str, bytes | Path],
    *,
    packages: Sequence[str] = PACKAGES,
    progress: Progress,
) -> Image:
    """The image with these files in it, from the cache or made now.

    Args:
        extra_files: content, or a file of this host, by absolute path in the node. A file
            keeps its mode; bytes are executable when they start with ``#!`` or are ELF.
        packages: of Debian, `BASICS` among them.
        progress: is told what is being made.

    Raises:
        ClusterError: a tool is missing, the disk is full, packages could not be fetched.
    """
    base = _base(packages, progress)
    files: dict[str, tuple[bytes | Path, int]] = {
        **{path: (data, 0o644) for path, data in ETC.items()},
        "/init": (HERE / "init.sh", 0o755),
    }
    for path, source in extra_files.items():
        files[destination(path)] = (source, _mode(source))
    parts: list[str | bytes] = [base.name]
    for path, (source, mode) in sorted(files.items()):
        parts += [path, oct(mode), source if isinstance(source, bytes) else source.read_bytes()]
    name = f"image-{cache.key(parts)}"

    def make(directory: Path) -> None:
        progress("putting the node's image together")
        for kind in ("vmlinux", "initrd"):
            (directory / kind).hardlink_to(base / kind)
        _copy(base / "root.img", directory / "root.img")
        for kind in ("client", "host"):
            run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / f"{kind}_key"],
                package="openssh-client",
            )
        public = (directory / "host_key.pub").read_text()
        (directory / "known_hosts").write_text(f"virtual-node {public}")
        own: dict[str, tuple[bytes | Path, int]] = {
            "/etc/ssh/host_key": (directory / "host_key", 0o600),
            "/etc/ssh/authorized_keys": (directory / "client_key.pub", 0o600),
            GUEST_KERNEL: (base / "vmlinux", 0o644),
        }
        _grow(directory / "root.img", sum(_size(source) for source, _ in files.values()))
        inject(directory / "root.img", files | own)

    need_mib = IMAGE_MIB + (sum(_size(source) for source, _ in files.values()) >> 20)
    kept = cache.kept(name, make, what="the node's image", need_mib=need_mib, progress=progress)
    return Image(kept, name.removeprefix("image-"))


def _base(packages: Sequence[str], progress: Progress) -> Path:
    suite = debian_suite()
    scripts = [_text(name) for name in ("assemble.sh", "initramfs.sh")]
    name = f"base-{cache.key([suite, *sorted(packages), *scripts, _text('kernel.py')])}"

    def make(directory: Path) -> None:
        progress(f"building the node's root file system from Debian {suite} (about a minute)")
        _mmdebstrap(directory, suite, packages, _sources(suite), progress)
        image = (directory / "vmlinuz").read_bytes()
        (directory / "vmlinux").write_bytes(kernel.uncompressed(image))

    return cache.kept(
        name, make, what="the node's root file system", need_mib=BASE_MIB, progress=progress
    )


def debian_suite() -> str:
    """The Debian suite to build from: this host's own where it is Debian."""
    try:
        release = OS_RELEASE.read_text()
    except OSError:  # not every system has one
        return FALLBACK_SUITE
    found = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    debian = re.search(r"^ID=debian$", release, re.MULTILINE)
    return found[1] if debian and found else FALLBACK_SUITE


def _sources(suite: str) -> list[str]:
    """Apt's own sources of that suite; none where mmdebstrap's default will do."""
    if shutil.which("apt-get") is None:
        return []
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", APT_SOURCE, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    sources = {
        source
        for origin, _, source in (line.partition("|") for line in listed.splitlines())
        if origin == "Debian" and re.search(rf" {suite}(-updates|-security)? ", source)
    }
    # Without an index of the suite itself, apt has not been updated here.
    complete = any(f" {suite} main" in source for source in sources)
    return sorted(sources) if complete else []


def _mmdebstrap(
    directory: Path, suite: str, packages: Sequence[str], sources: list[str], progress: Progress
) -> None:
    # Without root the packages are unpacked by other user ids, which need a way in; a home
    # directory may bar it. With root, what a killed run leaves is removed with the directory.
    where = directory if os.geteuid() == 0 else None
    with scratch.directory(where) as work:
        work_path = Path(work)
        work_path.chmod(0o755)
        room = work_path / "room"
        room.mkdir()
        room.chmod(0o1777)
        for script in ("assemble.sh", "initramfs.sh"):
            shutil.copy(HERE / script, work_path / script)
        assemble = f'sh {work}/assemble.sh "$1" {work}/initramfs.sh >&2'
        command = [
            *_unpacking(packages),
            "--format=null",
            # Without root, what it puts beside the root cannot be removed from outside.
            f'--extract-hook={assemble} || {{ rm -rf "$1.out" "$1.img"; exit 1; }}',
            f'--extract-hook=mv "$1".img {work}/room/root.img',
            *(f"--extract-hook=download /out/{name} {directory}/{name}" for name in OUT),
            suite,
            # The target is none; after it come sources of packages, here from standard input.
            "-",
            *(["-"] if sources else []),
        ]
        run(
            command,
            package="mmdebstrap",
            stdin="\n".join(sources) + "\n",
            environment={**os.environ, "TMPDIR": str(room)},
            progress=progress,
        )
        _copy(room / "root.img", directory / "root.img")


def unpack_packages(packages: Sequence[str], suite: str, tar: Path, *, progress: Progress) -> None:
    """Writes a tar of these packages of Debian and of those that they need, not configured.

    Raises ClusterError when a tool is missing or packages could not be fetched.
    """
    sources = _sources(suite)
    with scratch.directory() as work:
        Path(work).chmod(0o1777)
        # The tar goes through here: whoever mmdebstrap becomes may not write beside it.
        command = [*_unpacking(packages), "--format=tar", suite, "-", *(["-"] if sources else [])]
        with tar.open("wb") as out:
            run(
                command,
                package="mmdebstrap",
                stdin="\n".join(sources) + "\n",
                environment={**os.environ, "TMPDIR": work},
                progress=progress,
                stdout=out,
            )


def _unpacking(packages: Sequence[str]) -> list[str]:
    """mmdebstrap's command up to the suite: packages are unpacked, and none of their
    maintainers' scripts is run.
    """
    merged = "; ".join(
        ['set -e; cd "$1"; mkdir -p usr/bin usr/sbin usr/lib usr/lib64']
        + [f"ln -s usr/{name} {name}" for name in ("bin", "sbin", "lib", "lib64")]
    )
    return [
        *("setpriv", "--pdeathsig", "TERM", "mmdebstrap"),
        "--variant=extract",
        "--architectures=amd64",
        f"--include={','.join(packages)}",
        "--aptopt=Apt::Install-Recommends false",
        f"--setup-hook={merged}",
        # Nor for hooks: Debian 13's has /proc mounted there, which is no file of the image.
        "--skip=chroot/mount",
    ]


OUT = ("vmlinuz", "initrd", "packages")


def _mode(source: bytes | Path) -> int:
    if isinstance(source, Path):
        return source.stat().st_mode & 0o777
    return 0o755 if source.startswith((b"#!", b"\x7fELF")) else 0o644


def _size(source: bytes | Path) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def _grow(root: Path, added: int) -> None:
    """Makes a file system image larger where so many bytes may not fit; it stays sparse."""
    if added > ROOM_MIB << 20:
        size = root.stat().st_size + added
        os.truncate(root, size - size % 4096)
        run(["resize2fs", root], package="e2fsprogs")


def destination(path: str) -> str:
    """The path itself when a file can be put there. Raises ValueError."""
    if not re.fullmatch(r"(/[\w.@+-]+)+", path) or {".", ".."} & set(path.split("/")):
        raise ValueError(f"not a plain absolute path of a file in the node: {path!r}")
    return path


def inject(root: Path, files: Mapping[str, tuple[bytes | Path, int]]) -> None:
    """Writes files (content, mode) into a file system image, without mounting it.

    Raises ClusterError when they do not fit.
    """
    with scratch.directory() as staging:
        script = []
        directories = {
            str(parent) for path in files for parent in Path(path).parents if str(parent) != "/"
        }
        script += [f"mkdir {directory}" for directory in sorted(directories)]
        for number, (path, (source, mode)) in enumerate(files.items()):
            staged = Path(staging) / str(number)
            if isinstance(source, bytes):
                staged.write_bytes(source)
            else:
                staged.symlink_to(source.absolute())
            script += [
                f"rm {path}",
                f"write {staged} {path}",
                f"set_inode_field {path} mode 0100{mode:03o}",
                f"set_inode_field {path} uid 0",
                f"set_inode_field {path} gid 0",
            ]
        said = run(["debugfs", "-w", "-f", "-", root], package="e2fsprogs", stdin="\n".join(script))
    # debugfs always exits with 0; new files and old directories are the harmless complaints.
    harmless = re.compile(r"debugfs \d|rm: File not found|mkdir: Ext2 directory already exists")
    failures = [line for line in said.splitlines() if line and not harmless.search(line)]
    if failures:
        raise ClusterError(f"the node's image could not be completed: {failures[0]}")


def _copy(source: Path, destination: Path) -> None:
    run(
        ["cp", "--sparse=always", "--reflink=auto", "--no-preserve=all", source, destination],
        package="coreutils",
    )


def _text(name: str) -> str:
    return (HERE / name).read_text()
