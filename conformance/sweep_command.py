"""The command ``sweep``: removes what runs that have died left on a cluster."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from clusters.contract.provider import ClusterError
from clusters.existing.description import namespace_name
from clusters.host import scratch
from conformance import options
from conformance.exits import Exit

Say = Callable[[str], None]


def declare(add: Callable[..., ArgumentParser], say: Say) -> None:
    """Adds the command."""
    parser = add(
        "sweep",
        help="remove what runs that were killed left on an existing cluster",
        description="Finds runs of this tool that have died: whose Lease was not renewed for "
        "longer than it lasts. Puts back the labels and feature gates that they changed, from the "
        "record that they kept on the cluster, and removes what they made. Runs that live, and "
        "what no run has made, are left alone. Exit code: 0 nothing of dead runs is left, 2 "
        "something is, 3 usage.",
    )
    wanted = ("--kubeconfig", "--context")
    options.declare(
        parser.add_argument, [each for each in options.KUBECONFIG if each.flag in wanted]
    )
    parser.add_argument(
        *("-n", "--namespace"),
        metavar="NS",
        type=namespace_name,
        help="look in one namespace alone, with rights in that alone",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.set_defaults(command=lambda given: sweep(given, say))


def sweep(arguments: Namespace, say: Say) -> int:
    """Sweeps once; returns the exit code. Raises ClusterError."""
    from clusters.existing import leftovers
    from clusters.existing.kubeconfig import single_context
    from clusters.kit.api import Api, ApiError

    scratch.sweep()
    with scratch.directory() as directory:
        copy = Path(directory) / "kubeconfig"
        copy.write_text(single_context(arguments.kubeconfig, arguments.context))
        told: list[str] = []

        def tell(line: str) -> None:
            told.append(line)
            say(line)

        try:
            api = Api(str(copy))
            try:
                clean = leftovers.sweep(
                    api, tell, namespace=arguments.namespace or "", dry_run=arguments.dry_run
                )
            finally:
                api.close()
        except ApiError as error:
            raise ClusterError(f"what runs have left cannot be looked for: {error}") from error
    if not told:
        say("no run has left anything")
    return Exit.CONFORMANT if clean else Exit.INCONCLUSIVE
