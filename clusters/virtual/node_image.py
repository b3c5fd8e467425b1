"""What a node of a virtual cluster is made of, and what is done once before it is saved.

The kubelet lies in the image; containerd runs in the saved machine, with all images
imported. What belongs to one cluster, addresses and certificates, comes when a node starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from clusters.kit.image_archives import archives
from clusters.virtual.binaries import Binaries
from clusters.virtual.node_layout import (
    CONTAINERD_CONFIG,
    CONTAINERD_LOG,
    CONTAINERD_ROOT,
    CONTAINERD_SOCKET,
    IMAGES,
    KUBELET,
    KUBELET_ROOT,
    PLUGIN_CONFIG,
    PLUGINS,
)
from clusters.virtual_node import guest_memory, image
from clusters.virtual_node.boot import Preparation
from clusters.virtual_node.machine import Machine

PACKAGES = (*image.BASICS, "containerd", "containernetworking-plugins")
PAUSE = "localhost/cpu-conformance/pause:latest"
SIDECAR = "localhost/cpu-conformance/sidecar:latest"
"""What `conformance.matrix.manifests.Images` calls a container that does nothing."""
PREPARE_SECONDS = 600.0
SSHD_CONFIG = "/etc/ssh/sshd_config"

_CONTAINERD = f"""\
version = 2
root = "{CONTAINERD_ROOT}"
# Each of these only looks for what is not there.
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.tracing.processor.v1.otlp",
]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{PLUGINS}"
  conf_dir = "{Path(PLUGIN_CONFIG).parent}"

[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "crun"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
  BinaryName = "/usr/bin/crun"
  SystemdCgroup = false
"""

_STAY = "trap 'exit 0' TERM INT; while :; do sleep 2147483647 & wait $!; done"
"""What a pause does: process 1 gets no signal that it does not ask for."""

_LAYER_DIGEST = "sha256:LAYER"
_CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["PATH=/bin"], "Cmd": ["sh", "-c", _STAY]},
    "rootfs": {"type": "layers", "diff_ids": [_LAYER_DIGEST]},
}
_MANIFEST = [{"Config": "config.json", "RepoTags": [PAUSE, SIDECAR], "Layers": ["layer.tar"]}]
"""Of the image that is made of the node's busybox."""

HUGEPAGES_PER_NODE = 64
"""128 MiB of each NUMA node."""

_PREPARE = f"""
set -e
{guest_memory.script(HUGEPAGES_PER_NODE)}
mkdir -p {CONTAINERD_ROOT} {KUBELET_ROOT} /run/containerd /var/log/pods /tmp
# Layers cannot lie on the node's own root, which is made of layers itself.
mount -t tmpfs -o size=60% containerd {CONTAINERD_ROOT}
mount -t tmpfs -o size=20% kubelet {KUBELET_ROOT}
mount --make-rshared {KUBELET_ROOT}
# The runtime reads the resources of an update from here.
ln -s /proc/self/fd/0 /dev/stdin
for module in overlay bridge veth br_netfilter tun vhost_net; do modprobe $module; done
echo 1 >/proc/sys/net/ipv4/ip_forward
setsid containerd --config {CONTAINERD_CONFIG} >{CONTAINERD_LOG} 2>&1 </dev/null &
containerd=$!
until [ -S {CONTAINERD_SOCKET} ]; do
    kill -0 $containerd || {{ tail -n 5 {CONTAINERD_LOG} >&2; exit 1; }}
    sleep 0.2
done

# One program is all that the images have, under all of its names; no registry is asked.
work=/run/images
mkdir -p $work/root/bin $work/root/tmp
cp /usr/bin/busybox $work/root/bin
for applet in $(busybox --list); do
    [ -e $work/root/bin/$applet ] || ln -s busybox $work/root/bin/$applet
done
tar -c -f $work/layer.tar -C $work/root .
digest=$(sha256sum $work/layer.tar)
sed "s/{_LAYER_DIGEST}/sha256:${{digest%% *}}/" {IMAGES}/config.json >$work/config.json
cp {IMAGES}/manifest.json $work
tar -c -f /run/busybox.tar -C $work manifest.json config.json layer.tar
rm -rf $work
# The first one, so that an image of the same name in an archive takes its place.
for archive in /run/busybox.tar {IMAGES}/*.tar; do
    [ -e "$archive" ] || continue
    ctr -n k8s.io images import "$archive" || {{ echo "$archive cannot be imported" >&2; exit 1; }}
done
rm /run/busybox.tar

# Read once, the programs are in memory; and a first container has loaded what all others need.
{KUBELET} --version
name=$(ctr -n k8s.io images ls -q | grep -F {PAUSE})
ctr -n k8s.io run --rm --net-host --runc-binary /usr/bin/crun "$name" warm-up true
"""


def extra_files(binaries: Binaries, images: str | None) -> Mapping[str, bytes | Path]:
    """Contents by path, for `clusters.virtual_node.image.build`.

    Args:
        binaries: whose kubelet it is.
        images: archive of images that each node is to have, or a directory of them.

    Raises:
        ClusterError: there is none, or one cannot be read.
    """
    found = () if images is None else archives(Path(images))
    return {
        KUBELET: binaries.kubelet,
        # The address of the API's service is none of the node's loopback.
        SSHD_CONFIG: image.ETC[SSHD_CONFIG] + b"GatewayPorts clientspecified\n",
        CONTAINERD_CONFIG: _CONTAINERD.encode(),
        f"{IMAGES}/config.json": json.dumps(_CONFIG).encode(),
        f"{IMAGES}/manifest.json": json.dumps(_MANIFEST).encode(),
        **{f"{IMAGES}/{number}.tar": each.path for number, each in enumerate(found)},
    }


def preparation() -> Preparation:
    """The preparation of a node that is to be saved, for `clusters.virtual_node.boot.boot`."""
    return Preparation(hashlib.sha256(_PREPARE.encode()).hexdigest()[:16], _prepare)


def _prepare(machine: Machine) -> None:
    machine.shell.run(_PREPARE, timeout_seconds=PREPARE_SECONDS)
