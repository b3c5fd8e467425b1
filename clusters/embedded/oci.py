"""The OCI runtime configuration of a container: what crun is told to run, and where.

The root of a container is the node's own, read-only, with private directories where programs
write; that of a container of an image has the image's files, read-only as well. See
opencontainers/runtime-spec, config.md and config-linux.md.
"""

from __future__ import annotations

import json
from typing import Any

from clusters.kit.oci_images import Image
from clusters.reference.machine import ContainerSpec, Inside, Program
from clusters.reference.node_layout import IMAGES, PROGRAMS, ROOT, STARTED

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ARGUMENTS = {
    Program.LAUNCHER: [f"{PROGRAMS}/launcher"],
    Program.SLEEP: [f"{PROGRAMS}/sleep"],
    Program.COMPLETE: ["true"],
    Program.NODE_TOOLS: [f"{PROGRAMS}/sleep"],
}

_ORDINARY = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
_ALL = (
    *_ORDINARY,
    *("AUDIT_CONTROL", "AUDIT_WRITE", "DAC_READ_SEARCH", "IPC_LOCK", "IPC_OWNER", "LEASE"),
    *("LINUX_IMMUTABLE", "NET_ADMIN", "NET_BROADCAST", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE"),
    *("SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME"),
    *("SYS_TTY_CONFIG",),
)
# The launcher's libvirt sets affinities and opens /dev/kvm; virt-handler looks everywhere.
_PRIVILEGED = (Program.LAUNCHER, Program.NODE_TOOLS)


def config(spec: ContainerSpec, directory: str) -> str:
    """Text of ``config.json``.

    Args:
        spec: the container; its cgroup exists and has its limits.
        directory: the bundle on the node; its ``run`` becomes the container's ``/run``, and
            what `STARTED` says of it goes there too.
    """
    inside = spec.inside
    capable = inside is None or inside.capable
    ordinary = _ORDINARY if capable else ()
    names = [f"CAP_{name}" for name in (_ALL if spec.program in _PRIVILEGED else ordinary)]
    return json.dumps(
        {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False,
                "user": _user(spec),
                "args": _ARGUMENTS.get(spec.program) or list(spec.command),
                "env": _environment(spec),
                "cwd": inside.directory if inside else "/",
                "noNewPrivileges": inside is not None and not inside.escalates,
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), names),
            },
            "root": {"path": image_root(inside.image) if inside else ROOT, "readonly": True},
            "mounts": _mounts_of_image(inside) if inside else _mounts(spec, directory),
            "hooks": {"poststart": [{"path": STARTED, "args": [STARTED, directory]}]},
            "linux": {
                "cgroupsPath": spec.cgroup,
                "namespaces": [{"type": kind} for kind in _namespaces(spec)],
                "resources": {"devices": [{"allow": True, "access": "rwm"}]},
            },
            "annotations": {
                "io.kubernetes.container.name": spec.name,
                "io.kubernetes.pod.uid": spec.pod_uid,
            },
        }
    )


def image_root(image: Image) -> str:
    """Where a node has the files of an image."""
    return f"{IMAGES}/{image.key}"


def _user(spec: ContainerSpec) -> dict[str, Any]:
    if spec.inside is None:
        return {"uid": 0, "gid": 0}
    return {
        "uid": spec.inside.user,
        "gid": spec.inside.group,
        "additionalGids": list(spec.inside.groups),
    }


def _environment(spec: ContainerSpec) -> list[str]:
    environment = {"PATH": PATH, "HOME": "/root", "TERM": "xterm"}
    if spec.program is Program.LAUNCHER:
        environment["LIBVIRT_DEFAULT_URI"] = "qemu:///system"
    return [f"{name}={value}" for name, value in {**environment, **spec.environment}.items()]


def _namespaces(spec: ContainerSpec) -> list[str]:
    if spec.program is Program.NODE_TOOLS:
        return ["mount", "ipc"]
    return ["mount", "pid", "ipc", "uts"]


def _mounts(spec: ContainerSpec, directory: str) -> list[dict[str, Any]]:
    privileged = spec.program in _PRIVILEGED
    mounts = [
        _mount("/proc", "proc", "proc"),
        _mount("/sys", "/sys", options=["rbind", "rslave", *([] if privileged else ["ro"])]),
        _mount("/dev", "/dev", options=["rbind", "rslave"]),
        _mount("/run", f"{directory}/run", options=["bind"]),
        _mount("/tmp", "tmpfs", "tmpfs"),
        _mount("/var/log", "tmpfs", "tmpfs"),
    ]
    if spec.program is Program.LAUNCHER:
        mounts += [
            _mount("/var/lib/libvirt", "tmpfs", "tmpfs"),
            # With what libvirt found out about QEMU when the node was prepared.
            _mount("/var/cache/libvirt", "/var/cache/libvirt", options=["bind"]),
        ]
    if spec.program is Program.NODE_TOOLS:
        mounts.append(_mount("/var/lib/kubelet", "/var/lib/kubelet", options=["rbind", "rslave"]))
    return mounts


def _mounts_of_image(inside: Inside) -> list[dict[str, Any]]:
    own = [
        _mount(each.path, each.source, options=["rbind", *(["ro"] if each.read_only else [])])
        for each in inside.mounts
    ]
    return [
        _mount("/proc", "proc", "proc"),
        _mount("/sys", "/sys", options=["rbind", "rslave", "ro"]),
        _mount("/dev", "tmpfs", "tmpfs", options=["nosuid", "mode=755"]),
        _mount("/dev/pts", "devpts", "devpts", options=["newinstance", "ptmxmode=0666"]),
        _mount("/dev/shm", "shm", "tmpfs", options=["nosuid", "nodev", "mode=1777"]),
        *own,
    ]


def _mount(
    destination: str, source: str, type_: str = "none", *, options: list[str] | None = None
) -> dict[str, Any]:
    return {"destination": destination, "type": type_, "source": source, "options": options or []}
