"""The report as OpenMetrics, for whoever watches clusters: what a textfile collector reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reports.document import Document, Standing
from reports.wording import printable

_PREFIX = "cpu_conformance"


def render(document: Document) -> str:
    """The document as the text of a ``metrics.prom``."""
    lines = [*_families(document), "# EOF"]
    return "\n".join(lines) + "\n"


def _families(document: Document) -> Iterator[str]:
    run, conclusion = document.run, document.conclusion
    yield from _family(
        "run_info",
        "What was judged.",
        [
            (
                {
                    "run": run.id,
                    "provider": document.cluster.provider,
                    "stack": document.cluster.stack,
                    "profile": document.profile,
                    "matrix": document.matrix,
                    "simulation": str(document.cluster.simulation).lower(),
                    "outcome": conclusion.outcome.value,
                },
                1,
            )
        ],
    )
    yield from _family(
        "exit_code", "Exit code that goes with the verdict.", [({}, conclusion.exit_code)]
    )
    yield from _family("run_seconds", "Duration of the run.", [({}, run.seconds)])
    yield from _family(
        "findings",
        "Findings by verdict.",
        [({"verdict": verdict.value}, number) for verdict, number in document.counts.items()],
    )
    yield from _family(
        "requirement_standing",
        "1 for what the run says of each requirement.",
        [
            ({"requirement": each.id, "standing": standing.value}, int(each.standing is standing))
            for each in document.requirements
            for standing in Standing
        ],
    )
    yield from _family(
        "case_seconds",
        "Seconds that each phase of a case took.",
        [
            ({"case": case.id, "phase": phase}, seconds)
            for case in document.cases
            for phase, seconds in case.phases.items()
        ],
    )


def _family(
    name: str, about: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    full = f"{_PREFIX}_{name}"
    yield f"# TYPE {full} gauge"
    yield f"# HELP {full} {about}"
    for labels, value in samples:
        yield f"{full}{labelled(labels)} {value:g}"


def labelled(labels: Mapping[str, str]) -> str:
    """Labels of a sample as OpenMetrics writes them; nothing where there are none."""
    text = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
    return f"{{{text}}}" if text else ""


def _escaped(text: str) -> str:
    line = printable(text).replace("\t", " ")
    return line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
