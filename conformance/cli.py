"""The command line. Thin: it composes the rooms and holds no rule of its own.

Longer than 400 lines: one function a command, each a few lines long.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from clusters import providers
from clusters.contract.provider import ClusterError
from clusters.contract.shape import SHAPES
from clusters.host import needs, rundir, scratch
from clusters.host.started import conform
from conformance import options, output, report_commands, sweep_command
from conformance.auditing import command as auditing
from conformance.command_line import Parser, did_you_mean
from conformance.delivering import command as delivering
from conformance.deploying import command as deploying
from conformance.exits import Exit, ends_like_an_interrupt
from conformance.model.vocabulary import CURRENT, V1ALPHA2
from conformance.proving import command as proving
from reports.wording import one_line, printable

CHECKOUT = Path(__file__).parents[1]
INSTALLED = Path(__file__).parent / "suite"
"""Where a wheel has the suite and its fixtures: no package of it is called tests or fixtures."""
ROOT = INSTALLED if INSTALLED.is_dir() else CHECKOUT
SUITE = ROOT / "tests" / "conformance"
EVERY_PROFILE = (CURRENT, V1ALPHA2)
"""What ``--profile all`` stands for: current includes v1."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    parser = _parser()
    words = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help()
        return Exit.USAGE
    ends_like_an_interrupt()
    return delivering.delivered(words, parser.parse_args, arguments, _outcome, _say)


def _outcome(arguments: argparse.Namespace) -> tuple[int, str]:
    """Runs a command: its exit code, and why it has no verdict where it says so."""
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        with _standard_input(arguments):
            return command(arguments), ""
    except KeyboardInterrupt:
        print("conform: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED, "interrupted"
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.INCONCLUSIVE, ""
    except (ClusterError, OSError) as error:  # such as a disk that is full
        _say(str(error))
        return Exit.INCONCLUSIVE, str(error)
    except Exception:
        # Python would exit with 1, which says that a cluster was seen to break its promise.
        traceback.print_exc()
        print("conform: this is a fault of conform itself; there is no verdict", file=sys.stderr)
        return Exit.INCONCLUSIVE, "a fault of conform itself"


@contextlib.contextmanager
def _standard_input(arguments: argparse.Namespace) -> Iterator[None]:
    """Manifests that come from standard input, as a file: every worker has to read them."""
    if getattr(arguments, "matrix", None) != "-":
        yield
        return
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="stdin-", suffix=".yaml") as copy:
        copy.write(sys.stdin.buffer.read())
        copy.flush()
        arguments.matrix = copy.name
        yield


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="conform",
        description="Tells whether a cluster really gives virtual machines the CPUs it promised.",
    )
    parser.set_defaults(command=None)
    parser.add_argument("--version", action=_Version, help="show which version this is, and exit")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)

    run = commands.add_parser(
        "run",
        help="bring a cluster up, judge it, write the reports",
        description="Brings a cluster up, runs the conformance suite, prints the verdict and "
        "writes the reports. Exit code: 0 conformant as far as asked, 1 a mandatory requirement "
        "failed, 2 inconclusive, 3 usage, 130 interrupted.",
    )
    options.declare(
        run.add_argument,
        (options.CLUSTER, *options.SPEC, *options.RUN, options.VERBOSE),
        more={"--shape": options.ALL, "--profile": options.ALL},
    )
    run.add_argument("-n", type=int, dest="at_once", metavar="N", help="VMIs at once")
    run.add_argument("-k", dest="keyword", metavar="EXPR", help="only matching tests, as in pytest")
    _declare_planned(run)
    delivering.declare(run, "run")
    run.set_defaults(command=_run)

    test = commands.add_parser("test", help="run the project's own tests")
    test.add_argument("pytest", nargs="*", help="arguments for pytest instead of the whole")
    test.set_defaults(command=_test)

    up = commands.add_parser("up", help="bring a cluster up and leave it running")
    options.declare(up.add_argument, (options.CLUSTER, *options.SPEC, options.PROFILE))
    up.add_argument("name", nargs="?", default="dev")
    up.set_defaults(command=_up)

    down = commands.add_parser("down", help="take a cluster down")
    down.add_argument("name", nargs="?", default="dev")
    down.set_defaults(command=_down)

    deploying.declare(commands.add_parser, _say)

    status = commands.add_parser("status", help="list the clusters of this machine")
    output.declare(status).set_defaults(command=_status)

    preflight = commands.add_parser(
        "preflight",
        help="say what an existing cluster lacks for a run, and how to mend it",
        description="Looks at an existing cluster, changes nothing, and says what it lacks for a "
        "run and how to mend that. Exit code: 0 nothing is missing, 2 something is.",
    )
    options.declare(
        preflight.add_argument, [each for each in options.KUBECONFIG if each.flag != "--owner"]
    )
    output.declare(preflight).set_defaults(command=_preflight)

    auditing.declare(commands.add_parser, _say)
    sweep_command.declare(commands.add_parser, _say)

    report_commands.declare(commands)
    proving.declare(commands)

    requirements = commands.add_parser(
        "requirements",
        help="list the requirements, or explain one",
        description="Lists every requirement, or explains one: its text, where it is promised, "
        "and the cases that show it.",
    )
    requirements.add_argument("id", nargs="?")
    output.declare(requirements).set_defaults(command=_requirements)

    matrix = commands.add_parser(
        "matrix",
        help="list cases with what must happen to them",
        description="Lists the cases of a matrix, or of your own manifests, with what must "
        "happen to each, and the requirements that they do not show.",
    )
    matrix.add_argument(
        "matrix", nargs="?", default="smoke", metavar="smoke|standard|full|pods|scenarios|FILE"
    )
    options.declare(matrix.add_argument, (options.PROFILE,))
    matrix.add_argument("--format", choices=("table", "yaml"), default="table")
    output.declare(matrix).set_defaults(command=_matrix)

    completion = commands.add_parser(
        "completion",
        help="print a script that completes command lines in a shell",
        description=f'Prints a script that completes command lines: `eval "$({conform()} '
        'completion bash)"` for this shell, into a file that it reads at its start for later ones.',
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    completion.set_defaults(command=_completion)
    return parser


def _declare_planned(run: argparse.ArgumentParser) -> None:
    """Options of a run that are the command line's alone."""
    run.add_argument(
        *("-f", "--filename"),
        dest="matrix",
        default=argparse.SUPPRESS,
        metavar="FILE|DIR|-",
        help="manifests of your own, as --matrix takes them",
    )
    run.add_argument(
        "--dry-run", action="store_true", help="print what would be created, and do nothing"
    )
    run.add_argument(
        "--list-images", action="store_true", help="print the images it takes, and do nothing"
    )


class _Version(argparse.Action):
    """As argparse's own, which would ask git for the commit at every start."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(nargs=0, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from conformance.version import version

        print(f"conform {version()}")
        parser.exit()


def _completion(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(_parser(), arguments.shell))
    return Exit.CONFORMANT


def _run(arguments: argparse.Namespace) -> int:
    if arguments.dry_run or arguments.list_images:
        return _planned(arguments)
    providers.prepare(arguments.cluster)
    if options.ALL in (arguments.shape, arguments.profile):
        return _run_each(arguments)
    _say(
        f"matrix {arguments.matrix} of profile {arguments.profile}, cluster {arguments.cluster}, "
        f"reports to {arguments.report_dir}"
    )
    import pytest

    own = providers.DESCRIPTIONS[arguments.cluster].at_once
    workers = own if arguments.at_once is None else arguments.at_once
    call = [
        *(str(SUITE), f"--rootdir={ROOT}", f"--config-file={os.devnull}"),
        *("--cluster", arguments.cluster),
        *options.forwarded(arguments, (*options.SPEC, *options.RUN)),
        *("-q", "--no-header", "--no-summary"),
        # pytest has a --verbose of its own.
        *(("--conform-verbose",) if arguments.verbose else ()),
        *("-p", "xdist", "-p", "fixtures.plugin"),
        # What the suite has no use for, and would wait for.
        *("-p", "no:cacheprovider", "-p", "no:unraisableexception"),
        *(("-n", str(workers)) if workers else ()),
        *(("-k", arguments.keyword) if arguments.keyword else ()),
    ]
    if ROOT == INSTALLED:
        sys.path.insert(0, str(ROOT))  # of pytest-xdist's workers too
    with _alone():
        code = int(pytest.main(call))
    if code == pytest.ExitCode.USAGE_ERROR:
        return Exit.USAGE
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        print("conform: no test matches", file=sys.stderr)
        return Exit.USAGE
    if code == pytest.ExitCode.INTERNAL_ERROR:
        return Exit.INCONCLUSIVE
    return code


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """A run is the same whatever else is installed beside it, and whatever pytest does elsewhere.

    Whoever calls it goes on with the environment of before.
    """
    before = dict(os.environ)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _planned(arguments: argparse.Namespace) -> int:
    """Says what a run would create, or of which images."""
    from clusters.kit.marks import Mark, whoever_runs_this
    from conformance.planned import image_names, objects

    profile = EVERY_PROFILE[0] if arguments.profile == options.ALL else arguments.profile
    images = options.images(lambda name: getattr(arguments, name))
    try:
        mark = Mark("ID", arguments.owner or whoever_runs_this())
        found = list(objects(arguments.matrix, profile, images, mark, arguments.namespace))
    except ValueError as error:
        print(f"conform: {error}", file=sys.stderr)
        return Exit.USAGE
    if arguments.list_images:
        print("\n".join(image_names(found)))
    else:
        import yaml

        yaml.safe_dump_all(map(dict, found), sys.stdout, sort_keys=False)
    return Exit.CONFORMANT


def _run_each(arguments: argparse.Namespace) -> int:
    """One run for each shape or profile that ``all`` stands for."""
    from conformance import campaign

    description = providers.DESCRIPTIONS[arguments.cluster]
    if arguments.shape == options.ALL and not description.shaped:
        print(f"conform: {description.name} clusters have the shape they have", file=sys.stderr)
        return Exit.USAGE
    shapes = SHAPES if arguments.shape == options.ALL else [arguments.shape]
    profiles = EVERY_PROFILE if arguments.profile == options.ALL else [arguments.profile]
    own = ("--shape", "--profile", "--report-dir")
    rest = [each for each in (*options.SPEC, *options.RUN) if each.flag not in own]
    shared = [
        *("--cluster", arguments.cluster),
        *options.forwarded(arguments, rest),
        *(("-n", str(arguments.at_once)) if arguments.at_once is not None else ()),
        *(("-k", arguments.keyword) if arguments.keyword else ()),
    ]
    planned = campaign.legs(shapes, profiles, shared, arguments.report_dir)
    # Emulated nodes keep every core of this machine busy; nodes in memory mostly wait.
    at_once = 4 * (os.cpu_count() or 1) if description.light else 1
    return campaign.run(planned, at_once=at_once, say=_say)


def _test(arguments: argparse.Namespace) -> int:
    """The whole: everything on the simulated cluster, then the suite on the embedded one."""
    if ROOT == INSTALLED:
        _say("the project's tests are in its repository; what is installed is only the suite")
        return Exit.USAGE
    needs.prepare(needs.NODE, "dev", "browser")
    calls = (
        [arguments.pytest]
        if arguments.pytest
        else [
            ["tests", "--cluster", "simulated", "-n", "2", "-q"],
            ["tests/conformance", "--cluster", "embedded", "-n", "4", "-q"],
        ]
    )
    for call in calls:
        print(f"conform: pytest {shlex.join(call)}", flush=True)
        code = subprocess.run(
            [sys.executable, "-m", "pytest", *call], cwd=ROOT, check=False
        ).returncode
        if code:
            return code
    return Exit.CONFORMANT


def _say(line: str) -> None:
    """Tells the terminal, which a text of a cluster's must not steer."""
    print(f"conform: {one_line(line)}", file=sys.stderr, flush=True)


def _up(arguments: argparse.Namespace) -> int:
    try:
        spec = options.cluster_spec(lambda name: getattr(arguments, name))
    except ValueError as error:
        print(f"conform: {error}", file=sys.stderr)
        return Exit.USAGE
    providers.prepare(arguments.cluster)
    providers.sweep(_say)
    directory = rundir.create(arguments.name)
    try:
        handle = providers.provider(arguments.cluster).up(
            arguments.name, spec, directory, progress=_say, detached=True
        )
    except BaseException:
        rundir.remove(directory)
        raise
    _say(f"the {handle.provider} cluster {handle.name} is up; `{conform()} down {handle.name}`")
    print(f"export KUBECONFIG={shlex.quote(handle.kubeconfig)}")
    return Exit.CONFORMANT


def _down(arguments: argparse.Namespace) -> int:
    handle = rundir.find(arguments.name)
    providers.provider(handle.provider).down(handle)
    _say(f"the {handle.provider} cluster {handle.name} is gone")
    return Exit.CONFORMANT


def _status(arguments: argparse.Namespace) -> int:
    found, rows = list(rundir.handles()), []
    for handle in found:
        if handle.provider in providers.DESCRIPTIONS:
            try:
                state = providers.provider(handle.provider).alive(handle) or "running"
            except ClusterError as error:
                state = str(error)
        else:
            state = "of another version of this tool"
        rows.append(
            {
                "name": handle.name,
                "provider": handle.provider,
                "state": state,
                "kubeconfig": handle.kubeconfig,
            }
        )
    if arguments.form:
        output.emit(rows, arguments.form)
        return Exit.CONFORMANT
    for row in rows:
        print(f"{row['name']}\t{row['provider']}\t{row['state']}\tKUBECONFIG={row['kubeconfig']}")
    if not found:
        print(f"no cluster is up; `{conform()} up` starts one")
    return Exit.CONFORMANT


def _preflight(arguments: argparse.Namespace) -> int:
    from clusters.existing.kubeconfig import single_context
    from clusters.existing.preflight import preflight

    scratch.sweep()
    with scratch.directory() as directory:
        copy = Path(directory) / "kubeconfig"
        copy.write_text(single_context(arguments.kubeconfig, arguments.context))
        found = preflight(
            str(copy),
            kubelet_root=arguments.kubelet_root,
            node_ssh=arguments.node_ssh,
            probe_image=arguments.probe_image,
            disruptive=arguments.disruptive,
            namespace=arguments.namespace or "",
        )
    if arguments.form:
        points = [{**asdict(point), "state": str(point.state)} for point in found.points]
        output.emit({"ready": found.ready, "points": points}, arguments.form)
    else:
        for point in found.points:
            print(printable(str(point)))
    return Exit.CONFORMANT if found.ready else Exit.INCONCLUSIVE


def _requirements(arguments: argparse.Namespace) -> int:
    from conformance.showing import requirements_as_data, show_requirement, show_requirements

    try:
        if arguments.form:
            output.emit(requirements_as_data(arguments.id), arguments.form)
        elif arguments.id:
            show_requirement(arguments.id)
        else:
            show_requirements()
    except KeyError:
        from conformance.requirements.catalogue import catalogue

        known = [each.id for each in catalogue().requirements]
        meant = did_you_mean(arguments.id.upper(), known)
        print(f"conform: there is no requirement {arguments.id}{meant}", file=sys.stderr)
        return Exit.USAGE
    return Exit.CONFORMANT


def _matrix(arguments: argparse.Namespace) -> int:
    from conformance.cases_by_name import chosen
    from conformance.matrix.scenarios import scenarios
    from conformance.showing import (
        cases_as_data,
        show_cases,
        show_left_out,
        show_lines,
        show_manifests,
        show_scenarios,
    )

    try:
        found = chosen(arguments.matrix, arguments.profile)
    except ValueError as error:
        print(f"conform: {error}", file=sys.stderr)
        return Exit.USAGE
    if arguments.form:
        output.emit(cases_as_data(found.cases), arguments.form)
    elif arguments.format == "yaml":
        show_manifests(found.cases)
    else:
        show_cases(found.cases)
        show_lines(found.unjudged)
        show_scenarios(scenarios(arguments.matrix, arguments.profile))
        show_left_out(arguments.matrix, arguments.profile, found.cases)
    return Exit.CONFORMANT
