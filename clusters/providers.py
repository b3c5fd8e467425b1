"""The providers by the name that the user gives them: one folder each, which describes itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import clusters
from clusters.contract.describing import Description
from clusters.contract.provider import ClusterError, Handle, Progress, Provider
from clusters.host import needs, processes, rundir, scratch

DEFAULT = "embedded"
"""Which needs nothing but this machine."""


def _descriptions() -> Mapping[str, Description]:
    found = sorted(
        module.parent.name
        for room in clusters.__path__
        for module in Path(room).glob("*/description.py")
    )
    return {name: import_module(f"clusters.{name}.description").DESCRIPTION for name in found}


DESCRIPTIONS: Mapping[str, Description] = MappingProxyType(_descriptions())
"""By name."""


def provider(name: str) -> Provider:
    """The provider of that name; imported only now, since each needs other libraries."""
    if name not in DESCRIPTIONS:
        known = ", ".join(DESCRIPTIONS)
        raise ValueError(f"there is no cluster provider {name!r}; there are {known}")
    made: Provider = import_module(f"clusters.{name}.provider").PROVIDER
    return made


def require(name: str) -> None:
    """Raises ClusterError when this machine lacks what a cluster of that kind needs."""
    if lacking := needs.missing(DESCRIPTIONS[name].need):
        frugal = [f"--cluster {each.name}" for each in DESCRIPTIONS.values() if not each.need]
        raise ClusterError(f"{lacking}; {' and '.join(frugal)} need none of it")


def prepare(name: str) -> None:
    """As `require`, after installing what is missing where that is this tool's to do."""
    needs.install(DESCRIPTIONS[name].need)
    require(name)


def sweep(progress: Progress) -> None:
    """Removes what runs that were killed have left on this machine.

    The one witness is the process that a cluster lives by. A cluster whose API or engine does
    not answer may be somebody's who is only patient.
    """
    for handle in rundir.handles():
        if handle.provider not in DESCRIPTIONS:
            continue  # another version of this project has it
        if _abandoned(handle):
            progress(f"removing what the {handle.provider} cluster {handle.name} left behind")
            try:
                provider(handle.provider).down(handle)
            except ClusterError as error:
                progress(str(error))  # no reason for others not to begin
    for directory in rundir.orphans():
        rundir.remove(directory)
    scratch.sweep()


def _abandoned(handle: Handle) -> bool:
    """Whether the process that serves the cluster, or that it was made for, has ended.

    One that is nobody's, for it was to outlive its maker, waits for its user to take it down.
    """
    keeper = handle.details.get("process") or handle.details.get("owner")
    return keeper is not None and not processes.alive(keeper)
