"""The commands ``audit`` and ``check``: what they are told, and what they say."""

from __future__ import annotations

import contextlib
import functools
import json
import shlex
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clusters.contract.provider import ClusterError
from clusters.host import rundir, scratch
from clusters.host.started import conform
from conformance import options, output
from conformance.collecting.aside import forget_oldest, make_way
from conformance.delivering import command as delivering
from conformance.exits import Exit
from conformance.options import positive

if TYPE_CHECKING:
    from clusters.contract.access import ClusterAccess
    from conformance.auditing.audit import Audited, Wanted
    from conformance.judging.waivers import Waived
    from reports.document import Document

Say = Callable[[str], None]
_LAST_PORT = 65535
RIGHTS = "clusters/existing/rbac/audit"
"""The kustomize base that an administrator applies."""
EXISTING = "existing"
"""The kind of cluster that is known by a kubeconfig alone."""
NAME = "cluster"
"""What a cluster is called that is known by a kubeconfig alone."""


def declare(add: Callable[..., ArgumentParser], say: Say) -> None:
    """Adds these commands."""
    declare_collect(add).set_defaults(command=lambda given: collect(given, say))
    declare_audit(add).set_defaults(command=lambda given: audit(given, say))
    declare_check(add).set_defaults(command=lambda given: check(given, say))


def declare_collect(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    """The parser of ``collect``."""
    parser = add("collect", help="record what an audit of a cluster of this machine sees")
    parser.add_argument("name", nargs="?", default="dev")
    options.declare(parser.add_argument, (options.REPORT_DIR, options.PROFILE))
    return parser


def declare_audit(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    """The parser of ``audit``."""
    parser = add(
        "audit",
        help="judge every dedicated VMI and every node of a cluster, and change nothing",
        description="Looks at every VMI with dedicated CPUs that runs on a cluster, and at every "
        "node, and judges what is seen. Nothing is written to the cluster, no console is opened, "
        "and no command runs in a launcher unless --libvirt is given. VMIs that start, stop, "
        "migrate or change their CPUs are listed and not judged. Exit code: 0 nothing that "
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
        "--redact",
        action="store_true",
        help="replace names in evidence and reports by pseudonyms; logs, environment and addresses "
        "are not in them (in those of a run: `bundle --without-secrets` leaves them out)",
    )
    parser.add_argument(
        "--watch",
        type=positive,
        metavar="SECONDS",
        help="audit again and again, so long apart, and print what changes",
    )
    parser.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        type=_address,
        help="with --watch: serve OpenMetrics there, at /metrics (HOST: 127.0.0.1)",
    )
    output.declare(parser, (output.JSON, output.YAML, output.WIDE))
    delivering.declare(parser, "audit")
    options.declare(parser.add_argument, (options.REPORT_DIR, options.PROFILE, options.WAIVERS))
    return parser


def declare_check(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    """The parser of ``check``."""
    parser = add(
        "check",
        help="check one VM or VMI: what was promised, what it has, what to do",
        description="Looks at one VM or VMI with dedicated CPUs as `audit` does, and says on one "
        "page what was promised, what is and by which source, and what to do. Exit codes are "
        "those of `audit`; 2 where nothing can be judged.",
    )
    parser.add_argument("subject", metavar="NAMESPACE/NAME", type=_subject)
    _reach(parser)
    _how(parser)
    output.declare(parser)
    options.declare(parser.add_argument, (options.PROFILE,))
    return parser


def _subject(text: str) -> str:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ArgumentTypeError(f"{text!r} is not of the form NAMESPACE/NAME")
    return text


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > _LAST_PORT:
        raise ArgumentTypeError(f"{text!r} is not of the form [HOST:]PORT")
    return host or "127.0.0.1", int(port)


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
    from clusters.existing.description import Settings
    from clusters.existing.provider import ExistingProvider

    scratch.sweep()
    provider = ExistingProvider()
    with scratch.directory() as directory:
        asked = Settings(
            kubeconfig=arguments.kubeconfig,
            context=arguments.context,
            kubelet_root=arguments.kubelet_root,
            node_ssh=arguments.node_ssh,
        )
        handle = provider.attach(NAME, Path(directory), asked)
        access = provider.connect(handle)
        try:
            yield access
        finally:
            access.close()


def audit(arguments: Namespace, say: Say) -> int:
    """Audits once, or again and again; returns the exit code of the last verdict.

    Raises ClusterError.
    """
    try:
        waivers = _waivers(arguments)
    except ValueError as error:
        say(str(error))
        return Exit.USAGE
    if arguments.watch is not None:
        from conformance.auditing.watch import watch

        def quietly(_line: str) -> None:
            """Only changes are told."""

        _make_way(arguments.report_dir, say)
        once = functools.partial(_once, arguments, waivers, quietly)
        return watch(once, arguments.watch, arguments.metrics, say)
    _make_way(arguments.report_dir, say)
    document, audited = _once(arguments, waivers, say)
    forget_oldest(arguments.report_dir)
    _show(arguments, document)
    for case, state in sorted(audited.passed.items()):
        say(f"not judged: {case} is {state}")
    say(f"what it cost: {audited.cost}")
    return int(document.conclusion.exit_code)


def collect(arguments: Namespace, say: Say) -> int:
    """Records an audit of a cluster that was brought up here, to be judged later.

    On clusters of this tool's own making libvirt is asked as well. Raises ClusterError.
    """
    from clusters import providers
    from conformance.auditing.audit import Wanted

    handle = rundir.find(arguments.name)
    provider = providers.provider(handle.provider)
    if dead := provider.alive(handle):
        raise ClusterError(dead)
    wanted = Wanted(libvirt=handle.provider != EXISTING)
    access = provider.connect(handle)
    _make_way(arguments.report_dir, say)
    audited = _looked(arguments, access, (handle.provider, handle.name), wanted, say)
    access.close()
    number = len(audited.vmis)
    say(f"{number} VMIs recorded; `{conform()} judge {arguments.report_dir}` judges them")
    return Exit.CONFORMANT


def _make_way(directory: Path, say: Say) -> None:
    """Keeps what an earlier run left there; looks of one audit follow each other in its place.

    Raises ClusterError.
    """
    try:
        make_way(directory, say)
    except OSError as error:
        raise ClusterError(f"{directory}: what is there cannot be kept aside: {error}") from None


def _waivers(arguments: Namespace) -> tuple[Waived, ...]:
    """Those of the file. Raises ValueError."""
    if arguments.waivers is None:
        return ()
    from conformance.judging.waivers import read

    found = read(arguments.waivers)
    if arguments.redact and any((each.case, each.node) != ("*", "*") for each in found):
        raise ValueError("waivers of certain cases or nodes name them, which --redact forbids")
    return found


def _once(arguments: Namespace, waivers: tuple[Waived, ...], say: Say) -> tuple[Document, Audited]:
    """One audit, judged; the reports are written."""
    from conformance.auditing.audit import Wanted
    from conformance.collecting import bundle
    from conformance.judging.report import judge
    from reports.write import write_all

    wanted = Wanted(
        namespace=arguments.namespace,
        selector=arguments.selector,
        node=arguments.node,
        libvirt=arguments.libvirt,
        rate=arguments.rate,
        waivers=waivers,
    )
    with reached(arguments) as access:
        audited = _looked(
            arguments, access, (EXISTING, NAME), wanted, say, redacted=arguments.redact
        )
    document = judge(bundle.read(arguments.report_dir / "evidence"))
    write_all(document, arguments.report_dir)
    return document, audited


def _looked(
    arguments: Namespace,
    access: ClusterAccess,
    cluster: tuple[str, str],
    wanted: Wanted,
    say: Say,
    *,
    redacted: bool = False,
) -> Audited:
    """What an audit of a cluster, of a kind and a name, saw; its evidence is written."""
    from clusters.kit.api import ApiError
    from conformance.auditing.audit import audit as look
    from conformance.auditing.redaction import PLAIN, Pseudonyms

    evidence = arguments.report_dir / "evidence"
    rundir.remove(evidence)
    try:
        return look(
            access,
            *cluster,
            evidence,
            say,
            profile=arguments.profile,
            wanted=wanted,
            redaction=Pseudonyms() if redacted else PLAIN,
            command=shlex.join(["conform", *sys.argv[1:]]),
        )
    except ApiError as error:
        mend = f"; {RIGHTS} grants what it takes" if error.code == 403 else ""
        raise ClusterError(f"the cluster could not be audited: {error}{mend}") from error


def _show(arguments: Namespace, document: Document) -> None:
    from conformance.auditing.rows import rows
    from reports.form import dump
    from reports.terminal import show

    if arguments.form in (output.JSON, output.YAML):
        output.emit(json.loads(dump(document)), arguments.form)
    elif arguments.form == output.WIDE:
        from conformance.showing import show_table

        show_table(("VERDICT", "WHAT", "FOUND", "PROMISED", "SEEN"), rows(document))
    else:
        show(document)
        say_files = f"reports and evidence: {arguments.report_dir}"
        print(say_files)


def check(arguments: Namespace, say: Say) -> int:  # noqa: ARG001 - as every command
    """Looks at one VM or VMI and prints a page. Raises ClusterError."""
    from conformance.auditing.audit import Wanted
    from conformance.auditing.check import check as look
    from conformance.auditing.page import lines

    wanted = Wanted(libvirt=arguments.libvirt, rate=arguments.rate)
    with reached(arguments) as access:
        page = look(access, arguments.subject, profile=arguments.profile, wanted=wanted)
    if arguments.form:
        output.emit(page.as_data(), arguments.form)
    else:
        for line in lines(page):
            print(line)
    return page.exit_code
