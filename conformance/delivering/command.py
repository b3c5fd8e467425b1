"""A command with those who wait for its results."""

from __future__ import annotations

import argparse
import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from clusters.contract.provider import ClusterError
from conformance.delivering.receiving import Receiver, Result, Say
from conformance.exits import Exit

if TYPE_CHECKING:
    from reports.document import Document

Outcome = Callable[[Namespace], tuple[int, str]]
"""Runs a command: its exit code, and what it said of an end without a verdict."""
REPORT = "report.json"


def declare(parser: argparse.ArgumentParser, command: str) -> None:
    """Adds the option; results of the command go to whoever waits for them."""
    parser.add_argument(
        "--results-configmap",
        type=_configmap,
        metavar="NAMESPACE/NAME",
        help="a ConfigMap of the cluster, in the form of KubeVirt's checkups: parameters are read "
        "from spec.param.*, results are written to status.*",
    )
    parser.set_defaults(delivers=command)


def _configmap(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAMESPACE/NAME")
    return namespace, name


def delivered(
    argv: Sequence[str],
    parse: Callable[[Sequence[str]], Namespace],
    arguments: Namespace,
    outcome: Outcome,
    say: Say,
) -> int:
    """Runs a command, and tells everybody who waits for its results how it ended.

    Args:
        argv: the words of its command line, and `parse`, what reads such words.
        arguments: what the words mean.
        outcome: runs it.
        say: is told what could not be delivered.

    Returns:
        Its exit code; of a command that was asked to deliver and could not, INCONCLUSIVE.
    """
    command = getattr(arguments, "delivers", None)
    if command is None:
        return outcome(arguments)[0]
    with ExitStack() as stack:
        try:
            receivers = list(_receivers(arguments, stack))
            for each in receivers:
                each.begin()
        except (ClusterError, OSError) as error:
            say(str(error))
            return Exit.INCONCLUSIVE
        try:
            arguments = _with_parameters(argv, parse, arguments, receivers)
        except ValueError as error:
            say(str(error))
            return _end(receivers, Result(Exit.USAGE, str(error), arguments.report_dir), say)
        before = _written(arguments.report_dir)
        code, why = outcome(arguments)
        if not receivers:
            return code
        fresh = _written(arguments.report_dir) not in (None, before)
        document = _document(arguments.report_dir, say) if fresh else None
        return _end(receivers, Result(code, why, arguments.report_dir, document), say)


def _end(receivers: Sequence[Receiver], result: Result, say: Say) -> int:
    code = result.code
    for each in receivers:
        try:
            each.end(result)
        except (ClusterError, OSError) as error:
            say(f"the results were not delivered: {error}")
            code = code or Exit.INCONCLUSIVE
    return code


def _receivers(arguments: Namespace, stack: ExitStack) -> Iterator[Receiver]:
    """Those that the command line or the environment names. Raises ClusterError."""
    if arguments.results_configmap:
        yield _checkup(arguments, stack)
    from conformance.delivering import ci, sonobuoy

    if sonobuoy.inside():
        yield sonobuoy.SonobuoyResults()
    if directory := os.environ.get(ci.ARTIFACTS):
        yield ci.Artifacts(Path(directory))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        yield ci.GitHub()


def _checkup(arguments: Namespace, stack: ExitStack) -> Receiver:
    from clusters.existing.kubeconfig import single_context
    from clusters.host import scratch
    from clusters.kit.api import Api
    from conformance.delivering.checkup import CheckupConfigMap

    if getattr(arguments, "cluster", "existing") != "existing":
        raise ClusterError("--results-configmap is for --cluster existing: it is an object of it")
    directory = Path(stack.enter_context(scratch.directory()))
    copy = directory / "kubeconfig"
    copy.touch(mode=0o600)
    copy.write_text(single_context(arguments.kubeconfig, arguments.context))
    api = Api(str(copy))
    stack.callback(api.close)
    return CheckupConfigMap(api, *arguments.results_configmap)


def _with_parameters(
    argv: Sequence[str],
    parse: Callable[[Sequence[str]], Namespace],
    arguments: Namespace,
    receivers: Sequence[Receiver],
) -> Namespace:
    """The arguments with the parameters of the ConfigMap; the command line's own win.

    Raises ValueError.
    """
    from conformance.delivering.checkup import CheckupConfigMap
    from conformance.delivering.parameters import words

    for each in receivers:
        if isinstance(each, CheckupConfigMap):
            added = words(each.data(), arguments.delivers)
            place = list(argv).index(arguments.delivers) + 1
            try:
                return parse([*argv[:place], *added, *argv[place:]])
            except SystemExit:
                raise ValueError(
                    f"the parameters of the ConfigMap cannot be used: {' '.join(added)}"
                ) from None
    return arguments


def _written(directory: Path) -> tuple[int, int] | None:
    """What tells a report from another one; None without any."""
    try:
        found = (directory / REPORT).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _document(directory: Path, say: Say) -> Document | None:
    from reports.form import load

    try:
        return load((directory / REPORT).read_text())
    except (OSError, ValueError) as error:
        say(f"{directory / REPORT} cannot be read: {error}")
        return None
