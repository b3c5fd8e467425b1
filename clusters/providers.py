"""The providers by the name that the user gives them."""

from __future__ import annotations

from importlib import import_module

from clusters.contract.provider import ClusterError, Handle, Progress, Provider
from clusters.host import processes, rundir, scratch

NAMES = ("embedded", "simulated", "kind", "existing", "virtual")


def provider(name: str) -> Provider:
    """The provider of that name; imported only now, since each needs other libraries."""
    if name not in NAMES:
        raise ValueError(f"there is no cluster provider {name!r}; there are {', '.join(NAMES)}")
    made: Provider = import_module(f"clusters.{name}.provider").PROVIDER
    return made


def sweep(progress: Progress) -> None:
    """Removes what runs that were killed have left on this machine.

    The one witness is the process that a cluster lives by. A cluster whose API or engine does
    not answer may be somebody's who is only patient.
    """
    for handle in rundir.handles():
        if handle.provider not in NAMES:
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
