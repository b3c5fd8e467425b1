"""Releases of Kubernetes and KubeVirt, as far as an order among them is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

_FORM = re.compile(
    r"v?([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?"
    r"(?:-(?P<rest>[0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)
_BEFORE = re.compile(r"(alpha|beta|rc)\b.*")
"""What a version's suffix begins with when it comes before its release (semver.org, 11). Other
suffixes come after it: a vendor's (``v1.29.3-gke.100``), a number of commits (``-12-gabc``)."""
_ONWARDS = re.compile(r"(?:alpha|beta)\.[0-9]+[.-][0-9]+\b.*")
"""A number of commits after an alpha or beta: those are tagged on the main branch, which goes on to
the next releases. A candidate is tagged on the branch of its release."""
_VENDORS = 3
"""Neither project has come beyond 1. A vendor who counts on its own has other numbers:
OpenShift Virtualization 4.19 is of KubeVirt 1.5."""


@total_ordering
@dataclass(frozen=True)
class Release:
    """One release.

    Attributes:
        text: as the software itself writes it.
        before: whether it comes before the release of that number: an alpha, beta or candidate.
        onwards: whether it is a build of the main branch since then, which may be of any later
            release.
    """

    major: int
    minor: int
    patch: int = 0
    before: bool = False
    text: str = ""
    onwards: bool = False

    @classmethod
    def parse(cls, text: str) -> Release | None:
        """Reads ``v1.8.4``, ``1.36``, ``v1.9.0-rc.1``, ``v1.29.3-gke.100``, ``v1.27.3+k3s1``.

        None for what tells no place among releases: ``devel``, ``v0.0.0-master+$Format``, the
        ``v4.19.3`` of a vendor.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None or (match[1], match[2]) == ("0", "0") or int(match[1]) >= _VENDORS:
            return None
        rest = match["rest"] or ""
        return cls(
            int(match[1]),
            int(match[2]),
            int(match[3] or 0),
            _BEFORE.fullmatch(rest) is not None,
            text.strip(),
            _ONWARDS.fullmatch(rest) is not None,
        )

    @property
    def minor_release(self) -> tuple[int, int]:
        """Major and minor, such as (1, 8)."""
        return self.major, self.minor

    def surely_before(self, since: tuple[int, int]) -> bool:
        """Whether it cannot have what came with a minor release."""
        return not self.onwards and self.minor_release < since

    def __lt__(self, other: Release) -> bool:
        return self._place < other._place

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Release) and self._place == other._place

    def __hash__(self) -> int:
        return hash(self._place)

    @property
    def _place(self) -> tuple[int, int, int, bool]:
        return self.major, self.minor, self.patch, not self.before

    def __str__(self) -> str:
        return self.text or f"v{self.major}.{self.minor}.{self.patch}"
