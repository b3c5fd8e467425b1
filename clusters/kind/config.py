"""What kind and kubeadm are told.

A worker's kubelet takes its configuration from a ConfigMap that all nodes share: kubeadm
ignores a KubeletConfiguration when a node joins, so that kind's ``kubeadmConfigPatches`` of
that kind have no effect on one worker. What differs between workers is therefore a patch of
kubeadm's own, a file that is applied where the kubelet's configuration is written (kubernetes
cmd/kubeadm/app/phases/kubelet/config.go, WriteConfigToDisk). Arguments of the kubelet would
do as well, but their form differs between kubeadm v1beta3 and v1beta4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from clusters.contract import cpuset
from clusters.contract.shape import CpuManager
from clusters.kind.slices import Slice

DEVICES = ("/dev/kvm", "/dev/vhost-net")
"""Mounted into workers where the host has them. kind mounts /lib/modules by itself, and an
engine refuses the same mount point twice."""
PATCHES = "/conformance/kubeadm-patches"
"""Where a node finds the patches of its kubeadm."""
KUBELET_PATCH = "kubeletconfiguration+merge.yaml"
"""``TARGET+TYPE.yaml``, as kubeadm wants it."""


def cluster(patches: Sequence[Path], devices: Iterable[str]) -> str:
    """The configuration of kind: one control plane, and a worker for each directory.

    Args:
        patches: for each worker the directory of this host that holds `KUBELET_PATCH`.
        devices: those of `DEVICES` that this host has.
    """
    mounts = [{"hostPath": device, "containerPath": device} for device in devices]
    workers = [
        {
            "role": "worker",
            "extraMounts": [
                {"hostPath": str(directory), "containerPath": PATCHES, "readOnly": True},
                *mounts,
            ],
            "kubeadmConfigPatches": [_yaml(_JOIN)],
        }
        for directory in patches
    ]
    return _yaml(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [{"role": "control-plane"}, *workers],
        }
    )


_JOIN = {"kind": "JoinConfiguration", "patches": {"directory": PATCHES}}


def kubelet_patch(slice_: Slice, cpu_manager: CpuManager) -> str:
    """The part of a KubeletConfiguration in which a worker differs from others."""
    return _yaml(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cpuManagerPolicy": cpu_manager.policy,
            "cpuManagerPolicyOptions": dict.fromkeys(sorted(cpu_manager.options), "true"),
            "reservedSystemCPUs": cpuset.render(slice_.reserved),
        }
    )


def patch_directory(run: str, worker: int) -> Path:
    """Where a worker's `KUBELET_PATCH` is kept.

    Args:
        run: directory of the cluster.
        worker: counted from 1.
    """
    return Path(run) / f"worker-{worker}"


def node_names(cluster_name: str, workers: int) -> tuple[str, ...]:
    """The names that kind gives: the control plane's, then each worker's.

    Source: kind pkg/cluster/internal/providers/common/namer.go.
    """
    return (
        f"{cluster_name}-control-plane",
        *(
            f"{cluster_name}-worker{number if number > 1 else ''}"
            for number in range(1, workers + 1)
        ),
    )


def _yaml(content: Any) -> str:
    # No aliases: patches are read piece by piece.
    return yaml.dump(content, Dumper=_Plain, sort_keys=False)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True
