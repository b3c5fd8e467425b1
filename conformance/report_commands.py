"""The commands that need no cluster: judge, report, compare, explain, bundle, record."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.contract.describing import Option
from clusters.host.started import conform
from conformance import options
from conformance.command_line import did_you_mean
from conformance.exits import Exit
from reports.wording import one_line, printable

if TYPE_CHECKING:
    from reports.document import Document, Finding

REPORT = "report.json"
_CASE = Option(
    "--case",
    "only this case, scenario or node of an audit, by its id; repeatable",
    {"action": "append", "default": [], "dest": "cases", "metavar": "ID"},
)


def declare(commands: Any) -> None:
    """Adds the commands to those of the command line (argparse's subparsers)."""
    judge = commands.add_parser(
        "judge",
        help="judge recorded evidence again, without a cluster",
        description="Judges the evidence of a report directory, or of a bundle, and writes the "
        "reports; of a bundle below --report-dir.",
    )
    judge.add_argument("directory", type=Path, metavar="DIR|BUNDLE")
    options.declare(judge.add_argument, (options.INSIST, options.REPORT_DIR, options.VERBOSE))
    judge.set_defaults(command=_judge)

    report = commands.add_parser(
        "report",
        help="show a report again, and write its other forms anew from report.json",
        description="Reads report.json, of this version or a former one, writes the other forms "
        "beside it, and prints the verdict. Exit code: that of the verdict.",
    )
    report.add_argument("directory", type=Path, metavar="DIR")
    options.declare(report.add_argument, (options.VERBOSE,))
    report.set_defaults(command=_report)

    compare = commands.add_parser(
        "compare",
        help="say what changed from one run to another",
        description="Compares two report directories: what broke, was mended, is new or is not "
        "seen any more, and which versions, settings and pCPUs differ. Exit code: 0 nothing "
        "broke, 1 something did, 2 something is not seen any more, 3 usage.",
    )
    compare.add_argument("before", type=Path, metavar="A")
    compare.add_argument("after", type=Path, metavar="B")
    compare.add_argument("--html", type=Path, metavar="FILE", help="write it as a page, too")
    compare.set_defaults(command=_compare)

    explain = commands.add_parser(
        "explain",
        help="explain a requirement, or a finding of a report",
        description="Explains a requirement (PIN-THREADS), or a finding of a report by its id "
        "(PIN-THREADS@isolate-io) or its fingerprint.",
    )
    explain.add_argument("id", metavar="REQUIREMENT|FINDING")
    options.declare(explain.add_argument, (options.REPORT_DIR,))
    explain.set_defaults(command=_explain)

    bundle = commands.add_parser(
        "bundle",
        help="put the evidence of a run into one file",
        description="Writes the evidence of a report directory into one file, to be judged "
        f"anywhere by `{conform()} judge FILE`.",
    )
    bundle.add_argument("directory", type=Path, metavar="DIR")
    bundle.add_argument(
        "-o", dest="output", type=Path, required=True, metavar="FILE", help="such as run.tar.xz"
    )
    bundle.add_argument(
        "--without-secrets",
        action="store_true",
        help="leave out logs, values of environment variables, Secrets and ConfigMaps, addresses, "
        "and annotations that are not of Kubernetes or KubeVirt; names stay (`audit --redact` "
        "replaces them)",
    )
    options.declare(bundle.add_argument, (_CASE,))
    bundle.set_defaults(command=_bundle)

    record = commands.add_parser(
        "record",
        help="keep the evidence of a run as an example, with the findings that it must give",
        description="Writes NAME.tar.xz, a bundle without secrets, and NAME.json, its findings, "
        "into tests/recorded of the project, whose tests judge it from then on. Read the findings "
        "before you commit them: they are what is right from then on.",
    )
    record.add_argument("name", metavar="NAME")
    record.add_argument(
        "directory",
        type=Path,
        metavar="DIR",
        nargs="?",
        help="the report directory of a run; without it, the findings of a recording that is "
        "there already are written anew",
    )
    record.add_argument(
        "--to", type=Path, default=Path("tests/recorded"), metavar="FOLDER", help="another folder"
    )
    options.declare(record.add_argument, (_CASE,))
    record.set_defaults(command=_record)


def _say(line: str) -> None:
    print(f"conform: {one_line(line)}", file=sys.stderr, flush=True)


@contextmanager
def _evidence(given: Path) -> Iterator[Path]:
    """The directory of the evidence, for as long as the context lasts."""
    from conformance.collecting.packing import unpack

    if not given.is_file():
        yield given / "evidence"
        return
    with tempfile.TemporaryDirectory(prefix="conform-") as directory:
        unpack(given, Path(directory))
        yield Path(directory) / "evidence"


def _judge(arguments: Namespace) -> int:
    from conformance.collecting import bundle
    from conformance.collecting.aside import forget_oldest, make_way
    from conformance.judging.report import judge
    from reports.terminal import show
    from reports.write import write_all

    packed = arguments.directory.is_file()
    target = arguments.report_dir if packed else arguments.directory
    try:
        with _evidence(arguments.directory) as evidence:
            document = judge(bundle.read(evidence), insist=arguments.insist)
    except bundle.BundleError as error:
        _say(str(error))
        return Exit.USAGE
    try:
        if packed:
            make_way(target, _say)
        files = write_all(document, target)
        forget_oldest(target)
    except OSError as error:
        show(document, verbose=arguments.verbose)
        print(f"conform: the reports cannot be written: {error}", file=sys.stderr)
        return Exit.INCONCLUSIVE
    show(document, files, verbose=arguments.verbose)
    return document.conclusion.exit_code


def _read(directory: Path) -> Document:
    """The report of a directory. Raises DocumentError."""
    from reports.document import DocumentError
    from reports.form import load

    try:
        return load((directory / REPORT).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{directory / REPORT} cannot be read: {error}") from error
    except DocumentError as error:
        raise DocumentError(f"{directory / REPORT}: {error}") from error


def _usage_without_report(command: Callable[[Namespace], int]) -> Callable[[Namespace], int]:
    def guarded(arguments: Namespace) -> int:
        from reports.document import DocumentError

        try:
            return command(arguments)
        except DocumentError as error:
            _say(str(error))
            return Exit.USAGE

    return guarded


@_usage_without_report
def _report(arguments: Namespace) -> int:
    from reports.terminal import show
    from reports.write import write_all

    document = _read(arguments.directory)
    # What was recorded stays as it was recorded.
    files = write_all(document, arguments.directory, without=(REPORT,))
    show(document, files, verbose=arguments.verbose)
    return document.conclusion.exit_code


@_usage_without_report
def _compare(arguments: Namespace) -> int:
    from reports.compare import compare, lines, page
    from reports.write import replace_file

    found = compare(_read(arguments.before), _read(arguments.after))
    names = (str(arguments.before), str(arguments.after))
    for line in lines(found, *names):
        print(printable(line))
    if arguments.html is not None:
        replace_file(arguments.html, page(found, *names))
        _say(f"the page is {arguments.html}")
    return found.exit_code


@_usage_without_report
def _explain(arguments: Namespace) -> int:
    from conformance.requirements.catalogue import catalogue
    from conformance.showing import show_requirement

    known = {each.id: each for each in catalogue().requirements}
    wanted = arguments.id
    if wanted.upper() in known:
        show_requirement(wanted.upper())
        return Exit.CONFORMANT
    if "@" not in wanted and not _looks_like_a_fingerprint(wanted):
        meant = did_you_mean(wanted.upper(), known)
        print(f"conform: there is no requirement {one_line(wanted)}{meant}", file=sys.stderr)
        return Exit.USAGE
    document = _read(arguments.report_dir)
    found = [each for each in document.findings if wanted in (each.id, each.fingerprint)]
    if not found:
        meant = did_you_mean(wanted, [each.id for each in document.findings])
        where = arguments.report_dir / REPORT
        print(f"conform: {where} has no finding {one_line(wanted)}{meant}", file=sys.stderr)
        return Exit.USAGE
    for line in _explained(document, found[0]):
        print(printable(line))
    print()
    if found[0].requirement in known:
        show_requirement(found[0].requirement)
    return Exit.CONFORMANT


def _looks_like_a_fingerprint(text: str) -> bool:
    return len(text) == 12 and set(text) <= set("0123456789abcdef")


def _explained(document: Document, finding: Finding) -> Iterator[str]:
    from reports.by_hand import again, commands
    from reports.wording import place, words

    cases: Mapping[str, Any] = {case.id: case for case in document.cases}
    case = cases.get(finding.case or finding.scenario)
    yield f"{finding.id}: {words(finding.verdict)} ({place(finding)})"
    yield f"  {finding.message}"
    width = max((len(each.what) for each in finding.compared), default=0)
    for each in finding.compared:
        yield f"  {each.what:<{width}}  {each.value}  [{each.source}]"
    for quote in case.last_words if case else ():
        yield f"  {quote.source}: {quote.text}"
    if finding.evidence:
        yield f"evidence: {finding.evidence}"
    if repeat := again(document, finding.case or finding.scenario):
        yield f"once more: {repeat}"
    yield from (f"by hand: {line}" for line in commands(document, case, finding))
    for event in case.timeline if case else ():
        yield f"{event.at}  {event.source}: {event.what}"


def _bundle(arguments: Namespace) -> int:
    from conformance.collecting.foreign import BundleError
    from conformance.collecting.packing import pack

    try:
        number = pack(
            arguments.directory,
            arguments.output,
            without_secrets=arguments.without_secrets,
            cases=frozenset(arguments.cases),
        )
    except BundleError as error:
        _say(str(error))
        return Exit.USAGE
    except FileExistsError:
        _say(f"{arguments.output} is there already")
        return Exit.USAGE
    _say(
        f"{number} files in {arguments.output}; `{conform()} judge {arguments.output}` judges them"
    )
    return Exit.CONFORMANT


def _record(arguments: Namespace) -> int:
    from conformance.collecting.foreign import BundleError
    from conformance.exhibit import record

    try:
        document = record(
            arguments.to, arguments.name, arguments.directory, frozenset(arguments.cases)
        )
    except (BundleError, OSError) as error:
        _say(str(error))
        return Exit.USAGE
    counts = ", ".join(f"{number} {name}" for name, number in document.counts.items() if number)
    _say(f"{arguments.to / arguments.name}.tar.xz: {counts}; each is in {arguments.name}.json")
    return Exit.CONFORMANT
