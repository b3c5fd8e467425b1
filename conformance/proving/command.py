"""The commands `saboteurs` and `prove`."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance import output
from conformance.command_line import did_you_mean
from conformance.exits import Exit
from reports.wording import one_line, printable

if TYPE_CHECKING:
    from conformance.proving.saboteur import Saboteur

SIMULATED, EMBEDDED = "simulated", "embedded"


def declare(commands: Any) -> None:
    """Adds the commands to those of the command line (argparse's subparsers)."""
    listed = commands.add_parser(
        "saboteurs",
        help="list the ways in which the judge itself is put to the test",
        description="Lists every saboteur: which requirement it breaks, what it does, and the "
        "historical bug that it stands for.",
    )
    listed.add_argument("requirements", nargs="*", metavar="REQUIREMENT")
    output.declare(listed).set_defaults(command=_list)

    prove = commands.add_parser(
        "prove",
        help="break what is judged on purpose, and see that the judge says so",
        description="Makes a run in which all is kept, lets each saboteur spoil its evidence or "
        "the cluster itself, and judges again. Exit code: 0 each was caught and nothing else was "
        "blamed, 1 one was missed or something else was blamed, 2 there was nothing to spoil for "
        "one of them, 3 usage.",
    )
    prove.add_argument("requirements", nargs="*", metavar="REQUIREMENT")
    prove.add_argument(
        "--cluster",
        choices=(SIMULATED, EMBEDDED),
        default=SIMULATED,
        help="where the runs are made (simulated)",
    )
    prove.add_argument(
        "--evidence",
        type=Path,
        metavar="DIR",
        help="spoil the evidence of this report directory, of any cluster, and make no runs",
    )
    output.declare(prove).set_defaults(command=_prove)


def _say(line: str) -> None:
    print(f"conform: {one_line(line)}", file=sys.stderr, flush=True)


def _asked(names: Sequence[str]) -> list[Saboteur] | None:
    """The saboteurs of the requirements that were named; None after telling of a wrong name."""
    from conformance.proving import all as _all  # noqa: F401 - registers every saboteur
    from conformance.proving.saboteur import of
    from conformance.requirements.catalogue import catalogue

    known = [each.id for each in catalogue().requirements]
    for name in names:
        if name.upper() not in known:
            meant = did_you_mean(name.upper(), known)
            _say(f"there is no requirement {name}{meant}")
            return None
    return of(name.upper() for name in names)


def _list(arguments: Namespace) -> int:
    found = _asked(arguments.requirements)
    if found is None:
        return Exit.USAGE
    if arguments.form:
        output.emit([_as_data(each) for each in found], arguments.form)
        return Exit.CONFORMANT
    for each in found:
        print(printable(f"{each.name}\n    {each.does}{f' ({each.bug})' if each.bug else ''}"))
    print(f"{len(found)} saboteurs of {len({each.requirement for each in found})} requirements")
    return Exit.CONFORMANT


def _as_data(each: Saboteur) -> dict[str, Any]:
    return {
        "name": each.name,
        "requirement": each.requirement,
        "does": each.does,
        "works_on": "a cluster" if each.fault else "evidence",
        "bug": each.bug or None,
        "leaves_every_other_source_right": each.alone,
        "may_break_too": sorted(each.also),
    }


def _prove(arguments: Namespace) -> int:
    found = _asked(arguments.requirements)
    if found is None:
        return Exit.USAGE
    from conformance.collecting.foreign import BundleError
    from conformance.proving import prove

    try:
        if arguments.evidence is not None:
            trials = prove.on_evidence(found, [arguments.evidence], _say)
        else:
            with tempfile.TemporaryDirectory(prefix="conform-prove-") as directory:
                trials = prove.on_cluster(found, arguments.cluster, Path(directory), _say)
    except BundleError as error:
        _say(str(error))
        return Exit.USAGE
    except prove.NotKeptError as error:
        _say(str(error))
        return Exit.INCONCLUSIVE
    if arguments.form:
        output.emit([prove.as_data(each) for each in trials], arguments.form)
    else:
        for line in prove.lines(trials):
            print(printable(line))
    return prove.exit_code(trials)
