"""The commands ``audit`` and ``check``: what they are told, and what they say."""

from __future__ import annotations

import contextlib
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clusters.contract.provider import ClusterError
from clusters.host import rundir, scratch
from conformance import options
from conformance.options import positive

if TYPE_CHECKING:
    from clusters.contract.access import ClusterAccess

Say = Callable[[str], None]
NAME = "cluster"
"""What a cluster is called that is known by a kubeconfig alone."""


def declare_audit(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    """The parser of ``audit``."""
    parser = add(
        "audit",
        help="judge every dedicated VMI that runs on a cluster, and every node, without a touch",
        description="Looks at every VMI with dedicated CPUs that runs on a cluster, and at every "
        "node, and judges what is seen. Nothing is written to the cluster, no console is opened, "
        "and no command runs in a launcher unless --libvirt is given. VMIs that start, stop, "
        "migrate or change their CPUs are told as such and not judged. Exit code: 0 nothing that "
        "was asked was broken, 1 something was, 2 inconclusive, 3 usage.",
    )
    _reach(parser)
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument(
        "-A", "--all-namespaces", action="store_true", help="every namespace (the default)"
    )
    scope.add_argument("-n", "--namespace", default="", metavar="NS", help="one namespace alone")
    parser.add_argument("-l", "--selector", default="", help="labels of the VMIs, as in kubectl")
    parser.add_argument("--node", default="", help="one node alone")
    _how(parser)
    parser.add_argument(
        "--redact", action="store_true", help="replace names in evidence and reports by pseudonyms"
    )
    options.declare(parser.add_argument, (options.REPORT_DIR, options.PROFILE))
    return parser


def _reach(parser: ArgumentParser) -> None:
    wanted = ("--kubeconfig", "--context", "--kubelet-root", "--node-ssh")
    shown = [each for each in options.KUBECONFIG if each.flag in wanted]
    options.declare(parser.add_argument, shown)


def _how(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--libvirt",
        action="store_true",
        help="ask the launchers' libvirt too (virsh -r), which runs on the guests' CPUs",
    )
    parser.add_argument(
        "--rate",
        type=positive,
        default=50.0,
        metavar="N",
        help="requests of the API server a second, at the most (default: 50)",
    )


@contextlib.contextmanager
def reached(arguments: Namespace) -> Iterator[ClusterAccess]:
    """The cluster of the kubeconfig, for as long as it is looked at. Raises ClusterError."""
    from clusters.existing.provider import ExistingProvider

    scratch.sweep()
    provider = ExistingProvider()
    with scratch.directory() as directory:
        handle = provider.attach(
            NAME,
            Path(directory),
            kubeconfig=arguments.kubeconfig,
            context=arguments.context,
            kubelet_root=arguments.kubelet_root,
            node_ssh=arguments.node_ssh,
        )
        access = provider.connect(handle)
        try:
            yield access
        finally:
            access.close()


def audit(arguments: Namespace, say: Say) -> int:
    """Audits once; returns the exit code of the verdict. Raises ClusterError."""
    from conformance.auditing.audit import Wanted
    from conformance.auditing.audit import audit as look
    from conformance.auditing.redaction import PLAIN, Pseudonyms
    from conformance.collecting import bundle
    from conformance.collecting.api import ApiError
    from conformance.judging.report import judge
    from conformance.settling import TransientError
    from reports.terminal import show
    from reports.write import write_all

    evidence = arguments.report_dir / "evidence"
    rundir.remove(evidence)
    wanted = Wanted(
        namespace=arguments.namespace,
        selector=arguments.selector,
        node=arguments.node,
        libvirt=arguments.libvirt,
        rate=arguments.rate,
    )
    with reached(arguments) as access:
        try:
            audited = look(
                access,
                "existing",
                NAME,
                evidence,
                say,
                profile=arguments.profile,
                wanted=wanted,
                redaction=Pseudonyms() if arguments.redact else PLAIN,
                command=shlex.join(["conform", *sys.argv[1:]]),
            )
        except (ApiError, TransientError) as error:
            raise ClusterError(f"the cluster could not be audited: {error}") from error
    document = judge(bundle.read(evidence))
    show(document, write_all(document, arguments.report_dir))
    for case, state in sorted(audited.passed.items()):
        say(f"not judged: {case} is {state}")
    say(f"what it cost: {audited.cost}")
    return int(document.conclusion.exit_code)
