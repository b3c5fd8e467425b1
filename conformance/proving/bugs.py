"""Defects that KubeVirt and Kubernetes have had, each with what shows it here.

Read from the projects' issue threads. Titles are ours and say what was seen.
"""

from __future__ import annotations

from collections.abc import Mapping

SEEN: Mapping[str, str] = {
    "kubevirt#3103": "IOThreads share the pCPUs of vCPUs although the emulator is isolated",
    "kubevirt#4687": "siblings of the guest are pinned to pCPUs of different cores",
    "kubevirt#6159": "the guest sees cores of one thread instead of two",
    "kubevirt#6200": "after a migration the pins of libvirt and of the XML differ",
    "kubevirt#6821": "after a migration the target has the source's pins",
    "kubevirt#8233": "other threads of QEMU share the cgroup of the vCPUs",
    "kubevirt#10005": "a container without limits breaks the class Guaranteed",
    "kubevirt#10132": "a dedicated VMI runs unpinned, since the CPU manager is off",
    "kubevirt#10473": "fewer vCPUs are enabled than the VMI has",
    "kubevirt#10593": "an odd number of CPUs on a node that gives whole cores",
    "kubevirt#10839": "the launcher takes two pCPUs for the emulator",
    "kubevirt#11749": "two threads a core are admitted on hosts without SMT",
    "kubevirt#11843": "a restart of the kubelet starts the VMI anew",
    "kubevirt#14078": "the label says false on a node with another kubelet root",
    "kubevirt#16395": "the launcher panics while it pins",
    "kubevirt#16992": "an IOThread of a pool is pinned to a pCPU that is not the VMI's",
    "kubevirt/enhancements#374": "a vhost thread runs beside a vCPU",
    "kubevirtci#1648": "a node with a CPU manager lacks the label",
    "kubernetes#70585": "exclusive CPUs are throttled by a quota",
    "kubernetes#85764": "others run on exclusive CPUs",
    "kubernetes#90303": "a restarted container loses its cpuset",
    "kubernetes#91668": "a restarted container loses its entry of the checkpoint",
    "kubernetes#112228": "CPUs leak from the checkpoint",
    "kubernetes#129078": "a restarted kubelet gives a running container other CPUs",
}
"""What saboteurs stand for; a test finds each of them in the catalogue."""

NOT_HERE: Mapping[str, str] = {
    "kubevirt#6432": "a migration panics: one that fails breaks no promise about CPUs",
    "kubevirt#14825": "a block device is revoked: it is about devices",
    "kubevirt#17247": "IOThreads panic a launcher: known of releases before 1.9",
    "kubevirt#17003": "an example of the user guide starts no pod: it is a case of the matrix",
    "kubevirt#17879": "too many migration threads: a migrating VMI is not judged half way",
    "kubevirt#13324": "no cpuset file: what cannot be read is not observed",
    "kubernetes#95296": "no access to /dev/kvm: the VMI does not run (RUN-STARTED)",
}
"""What no saboteur stands for, and why."""
