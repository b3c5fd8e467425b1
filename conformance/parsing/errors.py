"""The one error of every parser."""

from __future__ import annotations

QUOTED = 160
"""Characters of the offending text that a message quotes."""


class ParseError(ValueError):
    """A text says something that its parser does not know.

    Attributes:
        what: what was expected.
        text: the offending text, whole.
        source: where the text came from.
    """

    def __init__(self, what: str, text: object, source: str) -> None:
        self.what = what
        self.text = text if isinstance(text, str) else repr(text)
        self.source = source
        quoted = self.text if len(self.text) <= QUOTED else self.text[:QUOTED] + "..."
        super().__init__(f"{source}: expected {what}, found {quoted!r}")
