"""The providers by the name that the user gives them."""

from __future__ import annotations

from importlib import import_module

from clusters import rundir
from clusters.provider import ClusterError, Progress, Provider

NAMES = ("embedded", "simulated", "kind", "existing", "virtual")


def provider(name: str) -> Provider:
    """The provider of that name; imported only now, since each needs other libraries."""
    if name not in NAMES:
        raise ValueError(f"there is no cluster provider {name!r}; there are {', '.join(NAMES)}")
    made: Provider = import_module(f"clusters.{name}.provider").PROVIDER
    return made


def sweep(progress: Progress) -> None:
    """Removes what runs that were killed have left on this machine."""
    for handle in rundir.handles():
        if handle.provider not in NAMES:
            continue  # another version of this project has it
        if provider(handle.provider).alive(handle):
            progress(f"removing what the {handle.provider} cluster {handle.name} left behind")
            try:
                provider(handle.provider).down(handle)
            except ClusterError as error:
                progress(str(error))  # no reason for others not to begin
    for directory in rundir.orphans():
        rundir.remove(directory)
