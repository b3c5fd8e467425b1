"""An audit again and again: what changes is told, and OpenMetrics are served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from clusters.contract.provider import ClusterError
from conformance.exits import Exit
from conformance.settling import Beat
from reports.document import Document, Verdict
from reports.metrics import labelled

if TYPE_CHECKING:
    from conformance.auditing.audit import Audited

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
Key = tuple[str, str]
"""Case and requirement."""


def watch(
    once: Callable[[], tuple[Document, Audited]],
    seconds: float,
    address: tuple[str, int] | None,
    say: Callable[[str], None],
    *,
    rounds: int | None = None,
) -> int:
    """Audits so many seconds apart until it is interrupted; the exit code of the last verdict.

    An audit that cannot be made is told, and the next one is tried.

    Args:
        once: one audit, judged.
        seconds: from the beginning of one to that of the next.
        address: where metrics are served, None for nowhere.
        say: is told what has changed since the audit before.
        rounds: how many, None for no end.
    """
    served = Metrics()
    server = served.serve(address) if address else None
    beat, before, code = Beat(seconds), dict[Key, tuple[str, str]](), int(Exit.INCONCLUSIVE)
    passed: Mapping[str, str] = {}
    try:
        done = 0
        while rounds is None or done < rounds:
            beat.wait()
            done += 1
            try:
                document, audited = once()
            except ClusterError as error:
                served.failed()
                say(f"no audit: {error}")
                continue
            now, states = problems(document), {k: str(v) for k, v in audited.passed.items()}
            for line in (*changes(before, now), *state_changes(passed, states)):
                say(line)
            before, passed, code = now, states, int(document.conclusion.exit_code)
            served.update(document, audited)
    finally:
        if server is not None:
            server.shutdown()
    return code


def problems(document: Document) -> dict[Key, tuple[str, str]]:
    """Verdict and message of everything that is not kept, by case and requirement."""
    fine = (Verdict.PASS, Verdict.NOT_APPLICABLE)
    return {
        (each.case, each.requirement): (str(each.verdict), each.message)
        for each in document.findings
        if each.verdict not in fine
    }


def changes(
    before: Mapping[Key, tuple[str, str]], now: Mapping[Key, tuple[str, str]]
) -> Iterator[str]:
    """What is another verdict than before; words that change alone are not told."""
    for key in sorted(before.keys() | now.keys()):
        was, is_ = before.get(key), now.get(key)
        if is_ is None:
            yield f"{key[0]} {key[1]}: not {was[0] if was else ''} any more"
        elif was is None or was[0] != is_[0]:
            yield f"{key[0]} {key[1]}: {is_[0]}: {is_[1]}"


def state_changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """VMIs that are judged no more, or again."""
    for case in sorted(before.keys() | now.keys()):
        if case not in now:
            yield f"{case}: not {before[case].partition(':')[0]} any more"
        elif before.get(case) != now[case]:
            yield f"{case}: {now[case]}"


class Metrics:
    """The last audit as OpenMetrics, for a server that runs beside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._lines: tuple[str, ...] = ()

    def failed(self) -> None:
        """Counts an audit that could not be made."""
        with self._lock:
            self._failures += 1

    def update(self, document: Document, audited: Audited) -> None:
        """Replaces what is served."""
        lines = tuple(_lines(document, audited))
        with self._lock:
            self._lines = lines

    def text(self) -> str:
        """What is served now."""
        with self._lock:
            failures = (
                "# TYPE conform_audit_failures counter",
                f"conform_audit_failures_total {self._failures}",
            )
            return "\n".join((*self._lines, *failures, "# EOF", ""))

    def serve(self, address: tuple[str, int]) -> ThreadingHTTPServer:
        """Begins to serve. Raises ClusterError when the address cannot be had."""
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/metrics":
                    self.send_error(404)
                    return
                body = metrics.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", OPEN_METRICS)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody asked."""

        try:
            server = ThreadingHTTPServer(address, Handler)
        except OSError as error:
            host, port = address
            raise ClusterError(f"metrics cannot be served at {host}:{port}: {error}") from error
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


def _lines(document: Document, audited: Audited) -> Iterator[str]:
    yield "# TYPE conform_finding gauge"
    yield "# HELP conform_finding A requirement that is not kept, 1 for each verdict there is."
    for (case, requirement), (verdict, _) in sorted(problems(document).items()):
        labels = {"case": case, "requirement": requirement, "verdict": verdict}
        yield f"conform_finding{labelled(labels)} 1"
    yield "# TYPE conform_findings gauge"
    for each in Verdict:
        number = sum(finding.verdict is each for finding in document.findings)
        yield f"conform_findings{labelled({'verdict': str(each)})} {number}"
    yield "# TYPE conform_vmis gauge"
    states = [str(found.state) for found in audited.passed.values()]
    yield f"conform_vmis{labelled({'state': 'judged'})} {len(audited.vmis)}"
    for state in sorted(set(states)):
        yield f"conform_vmis{labelled({'state': state})} {states.count(state)}"
    yield "# TYPE conform_nodes gauge"
    yield f"conform_nodes {len(audited.nodes)}"
    yield "# TYPE conform_audit_exit_code gauge"
    yield f"conform_audit_exit_code {int(document.conclusion.exit_code)}"
    yield "# TYPE conform_audit_seconds gauge"
    yield f"conform_audit_seconds {audited.cost.seconds:.3f}"
    yield "# TYPE conform_audit_requests gauge"
    yield f"conform_audit_requests {audited.cost.requests}"
