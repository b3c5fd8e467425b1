"""Expressions that select cases and scenarios by labels, in the syntax of Ginkgo's label filter.

``&&``, ``||`` or ``,``, ``!``, parentheses, and ``/regular expression/``. Upper and lower case are
alike. Source of the syntax: onsi/ginkgo, docs/index.md, "Spec Labels".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

Matches = Callable[[Collection[str]], bool]

_TOKEN = re.compile(r"\s*(?:(&&|\|\||[,!()])|/((?:[^/\\]|\\.)+)/|([^\s&|,!()/]+))")
_OR = ("||", ",")


def parsed(text: str) -> Matches:
    """What says of labels whether an expression selects them. Raises ValueError."""
    return _Parser(text).whole()


class _Parser:
    """Recursive descent; ``!`` binds strongest, then ``&&``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._wrong(f"{text[place:].strip()!r} means nothing")
            operator, pattern, label = found.groups()
            kind = operator or ("pattern" if pattern else "label")
            self._tokens.append((kind, pattern or label or ""))
            place = found.end()

    def whole(self) -> Matches:
        found = self._either()
        if self._tokens:
            raise self._wrong(f"{''.join(self._tokens[0])!r} is out of place")
        return found

    def _either(self) -> Matches:
        found = [self._both()]
        while self._tokens and self._tokens[0][0] in _OR:
            self._tokens.pop(0)
            found.append(self._both())
        return lambda labels: any(each(labels) for each in found)

    def _both(self) -> Matches:
        found = [self._one()]
        while self._tokens and self._tokens[0][0] == "&&":
            self._tokens.pop(0)
            found.append(self._one())
        return lambda labels: all(each(labels) for each in found)

    def _one(self) -> Matches:
        if not self._tokens:
            raise self._wrong("it breaks off")
        kind, text = self._tokens.pop(0)
        if kind == "!":
            inner = self._one()
            return lambda labels: not inner(labels)
        if kind == "(":
            inner = self._either()
            if not self._tokens or self._tokens.pop(0)[0] != ")":
                raise self._wrong("a parenthesis is not closed")
            return inner
        if kind == "pattern":
            try:
                pattern = re.compile(text, re.IGNORECASE)
            except re.error as error:
                raise self._wrong(f"/{text}/ is no regular expression: {error}") from None
            return lambda labels: any(pattern.search(each) for each in labels)
        if kind != "label":
            raise self._wrong(f"{kind!r} is out of place")
        wanted = text.lower()
        return lambda labels: any(each.lower() == wanted for each in labels)

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"--label-filter {self._text!r}: {what}")
