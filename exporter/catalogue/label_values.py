"""Maps the value of a field to the value of a label: a known one, one of a few discovered ones, or `other`. Pure."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from exporter.catalogue.route_templates import Templates, guess

OTHER = "other"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Label(msgspec.Struct, frozen=True):
    """A label, the field of the event that it comes from, and the values that it may have beside `other`."""

    name: str
    field: str
    domain: str
    values: tuple[str, ...]
    list_: str = ""  # the list in exporter.yml that the values come from
    discover: int = 0  # how many values beyond the list are accepted as they come
    paths: bool = False  # the field is a path, and the values are templates of paths

    @property
    def size(self) -> int:
        """How many values there can be, including `other` or the classes of a status."""
        return len(self.values) + self.discover + (5 if self.domain == "status" else 1)


class LabelValues:
    """The domain of one label. Labels with the same list share what was ``discovered``."""

    def __init__(self, label: Label, discovered: dict[str, None]) -> None:
        self._limit, self._discovered = label.discover, discovered
        self._known: Callable[[Any], str | None] = _known(label)
        self._guess = guess if label.paths else _word

    def __call__(self, value: Any) -> tuple[str, bool]:  # noqa: ANN401  # whatever the field holds
        """Return the label's value, and whether the field's value was outside the domain.

        What it returns stays the same when it is given again: journals have the values of labels.
        """
        if value is None or value in {"", OTHER}:
            return OTHER, False
        known = self._known(value)
        if known is not None:
            return known, False
        if self._limit and isinstance(value, str):
            if value in self._discovered:
                return value, False
            guessed = self._guess(value)
            if guessed is not None and (guessed in self._discovered or len(self._discovered) < self._limit):
                self._discovered[guessed] = None
                return guessed, False
        return OTHER, True


def _word(value: str) -> str | None:
    return value if _WORD.fullmatch(value) else None


def _known(label: Label) -> Callable[[Any], str | None]:
    values = frozenset(label.values)
    if label.domain == "status":
        return lambda status: str(status) if str(status) in values else f"{str(status)[0]}xx"
    if label.paths:
        return Templates(label.values).match
    if label.domain == "method":
        return lambda method: method.upper() if method.upper() in values else None
    return lambda value: value if value in values else None
