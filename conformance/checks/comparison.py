"""What a check compares, what it finds wrong, and what it could not see."""

from __future__ import annotations

from conformance.model.finding import Compared, Finding, Verdict


class Unobserved(Exception):  # noqa: N818 - an outcome, not an error
    """The evidence for a requirement is missing; the message says which and why."""


class NotApplicable(Exception):  # noqa: N818 - an outcome, not an error
    """The requirement says nothing about this workload on this node; the message says why."""


class Comparison:
    """Collects the values that one check compares on one snapshot, and its objections."""

    def __init__(self) -> None:
        self._compared: list[Compared] = []
        self._wrong: list[str] = []
        self._missing: list[str] = []
        self._notes: list[str] = []
        self._diverges = True
        self._final = False

    def saw(self, what: str, value: object, source: str) -> None:
        """One value that is compared, and where it came from."""
        self._compared.append(Compared(what, str(value), source))

    def wrong(
        self, clause: str, *, known: bool = False, final: bool = False, doubt: str | None = None
    ) -> None:
        """One objection.

        Args:
            clause: what is wrong, with the values and their sources.
            final: it may never be, although other things that this check requires settle.
            known: this is what a release is known to do instead; the catalogue decides
                whether that counts as a known divergence or as a failure.
            doubt: why this may be right on this cluster after all; then it is not observed.
        """
        if doubt is not None:
            self.missing(f"{clause}; but {doubt}")
            return
        self._wrong.append(clause)
        self._final = self._final or final
        self._diverges = self._diverges and known

    @property
    def objected(self) -> bool:
        """Whether anything was wrong so far: that survives whatever is not applicable later."""
        return bool(self._wrong)

    def missing(self, clause: str) -> None:
        """Something that had to be compared and was not seen."""
        self._missing.append(clause)

    def note(self, clause: str) -> None:
        """Something to be told whatever the verdict is: nobody promised otherwise."""
        if clause not in self._notes:
            self._notes.append(clause)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noted so far."""
        return tuple(self._notes)

    def finding(self, requirement: str, kept: str, look: str) -> Finding:
        """The finding; a check that compared nothing has observed nothing.

        Args:
            requirement: its id.
            kept: what holds when there is no objection.
            look: what to look at next when there is one.
        """
        if self._wrong:
            verdict = Verdict.KNOWN_DIVERGENCE if self._diverges else Verdict.FAIL
            # A clause may quote somebody's whole sentence.
            message = f"{'; '.join(self._wrong).removesuffix('.')}. {look}"
        elif self._missing:
            verdict, message = Verdict.NOT_OBSERVED, "; ".join(self._missing)
        elif not self._compared:
            verdict, message = Verdict.NOT_OBSERVED, "there was nothing to compare"
        else:
            verdict, message = Verdict.PASS, kept
        return Finding(
            requirement,
            verdict,
            message,
            tuple(self._compared),
            final=self._final,
            notes=self.notes,
            objections=tuple(self._wrong),
            look=look if self._wrong else "",
        )
