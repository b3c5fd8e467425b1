"""Words, signs and orders that all renderers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from reports.document import (
    WORST_FIRST,
    Conclusion,
    Document,
    Fault,
    Finding,
    Outcome,
    Requirement,
    Setting,
    Standing,
    Verdict,
    Watch,
)

SIGNS: Mapping[Verdict, str] = {
    Verdict.FAIL: "✗",
    Verdict.ERROR: "!",
    Verdict.NOT_OBSERVED: "?",
    Verdict.WAIVED: "~",
    Verdict.KNOWN_DIVERGENCE: "≈",
    Verdict.PASS: "✓",
    Verdict.NOT_APPLICABLE: "–",
}
"""One character by verdict, so that nothing is told by colour alone."""

HEADLINES: Mapping[Outcome, str] = {
    Outcome.CONFORMANT: "Conformant",
    Outcome.CONFORMANT_AS_ASKED: "Conformant as far as asked",
    Outcome.NOT_CONFORMANT: "Not conformant",
    Outcome.INCONCLUSIVE: "Inconclusive",
    Outcome.INTERRUPTED: "Interrupted",
}

SIMULATION = (
    "SIMULATION: nodes, kernels and guests existed in memory only. "
    "This says nothing about any real cluster."
)

BROKEN = (Verdict.FAIL, Verdict.ERROR, Verdict.NOT_OBSERVED, Verdict.WAIVED)
"""What keeps a run from being conformant, and what does not because it is waived; worst first."""

STANDINGS: Mapping[Standing, str] = {
    Standing.BROKEN: "broken",
    Standing.ERROR: "went wrong in this tool",
    Standing.NOT_OBSERVED: "not observed",
    Standing.WAIVED: "waived",
    Standing.KNOWN_DIVERGENCE: "known not to be kept",
    Standing.KEPT: "kept",
    Standing.NOT_ASKED: "not asked",
    Standing.NOT_APPLICABLE: "not applicable",
}
"""What is said of the requirements of a standing."""

LONGEST = 1_000
"""Characters of one text on a terminal or a summary; report.json and report.html have them all."""


def words(verdict: Verdict) -> str:
    """The verdict in plain words."""
    return verdict.value.replace("-", " ")


def printable(text: str) -> str:
    r"""The text with everything visible that is no visible character, such as ``\x1b``.

    Control characters, those that turn the direction of writing, those without a width, halves
    of surrogate pairs and what Unicode does not define do nothing to a terminal or a browser
    any more, and what is left may stand in XML 1.0.
    """
    if text.isprintable():  # nearly all are; a report has thousands
        return text
    return "".join(
        letter if letter.isprintable() or letter in "\t\n" else _escaped(letter) for letter in text
    )


def _escaped(letter: str) -> str:
    number = ord(letter)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def one_line(text: str) -> str:
    """The text, printable and without line breaks."""
    return " ".join(printable(text).split())


def shortened(text: str, limit: int = LONGEST) -> str:
    """The text in one line; of a long one its beginning, and how much more there is."""
    line = one_line(text[: 8 * limit])
    if len(line) <= limit and len(text) <= 8 * limit:
        return line
    return f"{line[:limit]} … (cut, of {len(text)} characters; report.json has them all)"


def headline(conclusion: Conclusion) -> str:
    """The verdict in a few words: what it covers belongs to it."""
    words = HEADLINES[conclusion.outcome]
    if conclusion.outcome is not Outcome.CONFORMANT_AS_ASKED:
        return words
    known = f", {conclusion.known} known not to be kept" if conclusion.known else ""
    return f"{words}: {conclusion.kept} of {conclusion.applying} requirements{known}"


def coverage(requirements: Iterable[Requirement]) -> list[tuple[Standing, str, str]]:
    """What the run says of each requirement, in lines: standing, their number, which and why.

    The worst come first. Those with the same reason share a line, and only the first line of a
    standing has the number.
    """
    groups: dict[Standing, dict[str, list[str]]] = {standing: {} for standing in Standing}
    for each in requirements:
        groups[each.standing].setdefault(each.why, []).append(each.id)
    lines = []
    for standing, found in groups.items():
        number = str(sum(map(len, found.values())))
        for why, ids in found.items():
            lines.append((standing, number, ", ".join(ids) + (f" ({why})" if why else "")))
            number = ""
    return lines


def setting_facts(document: Document) -> Iterator[tuple[str, str]]:
    """What was judged and how, as names and texts; what is not known is left out or said so."""
    if document.setting is not None:
        yield from _of_cluster(document.setting)
    selection, run = document.selection, document.run
    if selection.shape:
        yield "Shape", selection.shape
    if selection.partial:
        parts = (
            f"-k {selection.keyword!r}" if selection.keyword else "",
            ", ".join(selection.tests),
            f"{selection.left_out} cases and scenarios of the matrix left out",
        )
        yield "Selection", "; ".join(filter(None, parts))
    for each in document.waivers:
        became = f"{each.state}, {each.findings} findings" if each.findings else str(each.state)
        became += f"; until {each.expires}; cases {each.case}, nodes {each.node}: {each.reason}"
        yield f"Waiver of {each.requirement}", became
    if run.command:
        yield "Command", run.command
    judged = run.judged_by if run.judged_by != run.tool_version else ""
    yield "Tool", run.tool_version + (f", judged by {judged}" if judged else "")


def _of_cluster(setting: Setting) -> Iterator[tuple[str, str]]:
    facts = {
        "Kubernetes": setting.kubernetes or _unread(setting.unread, "kubernetes"),
        "KubeVirt": setting.kubevirt or _unread(setting.unread, "kubevirt"),
        "API versions served": _listed(setting.served),
        "Feature gates": _listed(setting.gates),
        "Feature gates off": ", ".join(setting.disabled_gates),
        "Emulator threads": "their CPUs are completed to an even number (AlignCPUs)"
        if setting.even_parity
        else "",
        "supportContainerResources": ", ".join(
            f"{name} {text}" for name, text in setting.support.items()
        ),
        "maxCpuSockets": str(setting.max_cpu_sockets or ""),
        "libvirt": "; ".join(setting.libvirt),
    }
    yield from ((name, text) for name, text in facts.items() if text)
    for name, node in setting.nodes.items():
        about = (node.kubelet, node.runtime, node.kernel, node.os_image, node.architecture)
        yield f"Node {name}", ", ".join(filter(None, about)) or "nothing was read"
    yield from ((f"Not read: {part}", why) for part, why in setting.unread.items())
    yield from (("Remark", remark) for remark in setting.remarks)


def _listed(names: Sequence[str] | None) -> str:
    return "" if names is None else ", ".join(names) or "none"


def _unread(unread: Mapping[str, str], part: str) -> str:
    return "not known" if part in unread or "setting" in unread else "none was found"


def faults_met(faults: Iterable[Fault]) -> str:
    """How often the API failed, in one sentence."""
    times = sum(fault.times for fault in faults)
    if times == 1:
        return "One request to the API failed and was sent again."
    return f"{times} requests to the API failed and were sent again."


def watched(watch: Watch) -> str:
    """How one node was watched, in one line."""
    if not watch.looks:
        return f"{watch.node} was not watched: {watch.why}"
    often = watch.looks / watch.seconds if watch.seconds else 0.0
    cost = 100 * watch.cost / watch.seconds if watch.seconds else 0.0
    said = (
        f"{watch.node} was watched for {duration(watch.seconds)}: {often:.1f} looks a second, at "
        f"most {watch.gap:.1f} s apart, {cost:.1f}% of one CPU"
    )
    return f"{said}; {watch.why}" if watch.why else said


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``0.4 s``, ``42 s``, ``3 min 48 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, failures first, otherwise in their order."""
    return sorted(findings, key=lambda finding: WORST_FIRST.index(finding.verdict))


def broken(document: Document) -> list[Finding]:
    """The findings that keep the run from being conformant, failures first; waived ones last."""
    return worst_first(f for f in document.findings if f.verdict in BROKEN)


def some(names: Sequence[str], limit: int, separator: str = ", ") -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return separator.join(names[:limit]) + more


def place(finding: Finding) -> str:
    """Where the finding belongs: case (or scenario), moment, node."""
    parts = (finding.case or finding.scenario, finding.moment, finding.node)
    return ", ".join(one_line(part) for part in parts if part)
