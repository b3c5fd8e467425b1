"""One case for each node that is to be judged: a VMI with dedicated CPUs that may run nowhere else.

It is placed by the label that the node's kubelet sets. A selector takes nothing from what is
promised to a VMI, so that every requirement is judged on it as on any other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

from conformance.matrix.cases import Case, of_manifest, shortened, vmi_name
from conformance.matrix.manifests import Images, Wish, vmi
from conformance.model.vocabulary import HOSTNAME

ALL = "all"
_ID_LENGTH = 60
_WISH = Wish(cores=2)
"""As small as a whole core with two threads, which `full-pcpus-only` demands."""


def wanted(text: str, labelled: Collection[str], every: Collection[str]) -> list[str]:
    """The nodes that ``--nodes`` asks for, by name.

    Args:
        text: ``all``, a number, or names with commas between them.
        labelled: nodes to which VMIs with dedicated CPUs may go.
        every: nodes of the cluster.

    Raises:
        ValueError: there is no such node, or there are not so many.
    """
    there = sorted(labelled)
    if text == ALL:
        if not there:
            raise ValueError("--nodes all: no node is labelled for dedicated CPUs")
        return there
    if text.isdecimal():
        number = int(text)
        if not 0 < number <= len(there):
            names = ", ".join(there) or "none"
            raise ValueError(f"--nodes {text}: {len(there)} nodes are labelled: {names}")
        return there[:number]
    asked = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := sorted(set(asked) - set(every)):
        raise ValueError(f"--nodes: there is no node {', '.join(unknown)}")
    if not asked:
        raise ValueError("--nodes names no node")
    return asked


def node_case(node: str, hostname: str, profile: str, images: Images | None) -> Case:
    """The case of a node, by the value of its label of the host's name."""
    plain = re.sub("[^a-z0-9]+", "-", node.lower()).strip("-")
    # Names that differ in what an id cannot have are told apart.
    digest = "" if plain == node else "-" + hashlib.sha256(node.encode()).hexdigest()[:6]
    name = shortened(f"on-{plain}{digest}", _ID_LENGTH)
    manifest = vmi(vmi_name(name), _WISH, profile=profile, images=images)
    spec: Mapping[str, object] = manifest["spec"]
    placed = {**manifest, "spec": {**spec, "nodeSelector": {HOSTNAME: hostname}}}
    return of_manifest(name, f"two vCPUs on node {node}", placed, profile)
