"""Folds the value of a field into the domain of its label: known ones, a few discovered ones, and `other`. Pure."""

import re
from collections.abc import Callable
from typing import Any

from exporter.catalogue.model import OTHER, PATHS, Label
from exporter.catalogue.route_templates import Templates, guess

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Fold:
    """The domain of one label. All labels with the same list share what was discovered, by ``found``."""

    def __init__(self, label: Label, found: dict[str, None]) -> None:
        self.label, self._found = label, found
        self._known: Callable[[Any], str | None] = _known(label)
        self._guess = guess if label.list_ in PATHS else _word

    def __call__(self, given: Any) -> tuple[str, bool]:  # noqa: ANN401  # whatever the field holds
        """Give the label's value, and whether the given one was outside the domain."""
        if given is None or given == "":
            return OTHER, False
        known = self._known(given)
        if known is not None:
            return known, False
        if self.label.discover and isinstance(given, str):
            guessed = self._guess(given)
            if guessed is not None and (guessed in self._found or len(self._found) < self.label.discover):
                self._found[guessed] = None
                return guessed, False
        return OTHER, given != OTHER


def _word(given: str) -> str | None:
    return given if _WORD.fullmatch(given) else None


def _known(label: Label) -> Callable[[Any], str | None]:
    values = frozenset(label.values)
    if label.domain == "status":
        return lambda status: str(status) if str(status) in values else f"{str(status)[0]}xx"
    if label.list_ in PATHS:
        return Templates(label.values).match
    if label.domain == "method":
        return lambda method: method.upper() if method.upper() in values else None
    return lambda value: value if value in values else None
