"""What a virtual node boots from: kernel, initial RAM file system, root file system.

Two layers, both kept in the cache. The *base* is made of Debian packages by mmdebstrap and
takes a minute. The *image* is a copy of it into which the node's few own files and those of
the caller are written; that takes a second.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clusters.provider import ClusterError, Progress
from clusters.virtual_node import cache, debian, kernel

HERE = Path(__file__).parent
SCRIPTS = ("assemble.sh", "initramfs.sh")
BASE_MIB = 3072
IMAGE_MIB = 1536
GUEST_KERNEL = "/usr/lib/virtual-node/vmlinux"
"""Where the node has an uncompressed kernel for machines of its own."""

PACKAGES = (
    "busybox-static",
    "coreutils",
    "crun",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "linux-image-cloud-amd64",
    "openssh-server",
    "perl-base",
    "qemu-system-x86",
    "util-linux",
)

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


def build(extra_files: Mapping[str, bytes | Path], *, progress: Progress) -> Image:
    """The image with these files in it, from the cache or made now.

    Args:
        extra_files: content, or a file of this host, by absolute path in the node. A file
            keeps its mode; bytes are executable when they start with ``#!`` or are ELF.
        progress: is told what is being made.

    Raises:
        ClusterError: a tool is missing, the disk is full, packages could not be fetched.
    """
    base = _base(progress)
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
        debian.copy(base / "root.img", directory / "root.img")
        for kind in ("client", "host"):
            debian.tool(
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
        inject(directory / "root.img", files | own)

    kept = cache.kept(name, make, what="the node's image", need_mib=IMAGE_MIB, progress=progress)
    return Image(kept, name.removeprefix("image-"))


def _base(progress: Progress) -> Path:
    suite = debian.host_suite()
    scripts = [_text(name) for name in SCRIPTS]
    name = f"base-{cache.key([suite, *PACKAGES, *scripts, _text('kernel.py')])}"

    def make(directory: Path) -> None:
        progress(f"building the node's root file system from Debian {suite} (about a minute)")

        def hook(room: Path) -> str:
            scripts = [shutil.copy(HERE / name, room) for name in SCRIPTS]
            return f'sh {scripts[0]} "$1" {scripts[1]} {room} >&2'

        def keep(room: Path) -> None:
            for kind in ("root.img", "vmlinuz", "initrd", "packages"):
                debian.copy(room / kind, directory / kind)

        debian.unpack(suite, PACKAGES, hook, directory=directory, keep=keep, progress=progress)
        image = (directory / "vmlinuz").read_bytes()
        (directory / "vmlinux").write_bytes(kernel.uncompressed(image))

    return cache.kept(
        name, make, what="the node's root file system", need_mib=BASE_MIB, progress=progress
    )


def _mode(source: bytes | Path) -> int:
    if isinstance(source, Path):
        return source.stat().st_mode & 0o777
    return 0o755 if source.startswith((b"#!", b"\x7fELF")) else 0o644


def destination(path: str) -> str:
    """The path itself when a file can be put there. Raises ValueError."""
    if not re.fullmatch(r"(/[\w.@+-]+)+", path) or {".", ".."} & set(path.split("/")):
        raise ValueError(f"not a plain absolute path of a file in the node: {path!r}")
    return path


def inject(root: Path, files: Mapping[str, tuple[bytes | Path, int]]) -> None:
    """Writes files (content, mode) into a file system image, without mounting it.

    Raises ClusterError when they do not fit.
    """
    with tempfile.TemporaryDirectory(prefix="virtual-node-") as staging:
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
        said = debian.tool(
            ["debugfs", "-w", "-f", "-", root], package="e2fsprogs", stdin="\n".join(script)
        )
    # debugfs always exits with 0; new files and old directories are the harmless complaints.
    harmless = re.compile(r"debugfs \d|rm: File not found|mkdir: Ext2 directory already exists")
    failures = [line for line in said.splitlines() if line and not harmless.search(line)]
    if failures:
        raise ClusterError(f"the node's image could not be completed: {failures[0]}")


def _text(name: str) -> str:
    return (HERE / name).read_text()
