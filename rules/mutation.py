"""Mutants of a rule: each number, comparison, `for` and window changed, one at a time.

A test set that does not notice a change does not hold the thing that was changed. Pure: rules in, changed rules out.
Changes are small, as a slip of the hand is: a test that notices the next value notices every farther one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from promql_parser import parse_duration

Rule = dict[str, Any]
TOKEN = re.compile(
    r"""(?P<labels>\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<window>\[[^\]]*\]|\boffset\s+\d\w*)
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<comparison>==|!=|>=|<=|>|<)
    |(?P<number>\d+(?:\.\d+)?)""",
    re.VERBOSE,
)
_DURATION = re.compile(r"\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*")
_BUCKET = re.compile(r'\ble="(\d+(?:\.\d+)?)"')
# The boundary moved (the usual mistake) and the opposite direction; for an equality, the opposite.
_TURNED = {">": (">=", "<"), "<": ("<=", ">"), ">=": (">", "<="), "<=": ("<", ">="), "==": ("!=",), "!=": ("==",)}
# Common durations: each becomes the next smaller and the next larger one.
_SCALE = (
    *("5s", "15s", "30s", "1m", "2m", "5m", "10m", "15m", "20m", "30m", "1h", "2h", "3h", "6h", "12h"),
    *("1d", "2d", "3d", "1w", "2w", "30d", "60d", "365d"),
)


@dataclass(frozen=True)
class Place:
    """Position of a rule: file, group, and index in the group."""

    file: str
    group: str
    position: int


@dataclass(frozen=True)
class Mutant:
    """One rule with one change; `what` describes it, also in survivors.yml."""

    place: Place
    name: str
    what: str
    rule: Rule

    @property
    def title(self) -> str:
        """Return its name as in rules/tables/survivors.yml."""
        return f"{self.name}: {self.what}"


def name_of(rule: Rule) -> str:
    """Return the name of an alert, or of a recorded series with the labels that the rule adds (names can repeat)."""
    labels = ", ".join(f'{key}="{value}"' for key, value in rule.get("labels", {}).items())
    return str(rule["alert"]) if "alert" in rule else f"{rule['record']}{{{labels}}}" if labels else rule["record"]


def mutants(file: str, content: dict[str, Any]) -> Iterator[Mutant]:
    """Return every mutant of every rule in a file."""
    for group in content["groups"]:
        for position, rule in enumerate(group["rules"]):
            for what, changed in changes(rule):
                yield Mutant(Place(file, group["name"], position), name_of(rule), what, changed)


def changes(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """Return every change of a rule with its description, e.g. `> becomes >=`."""
    if "alert" in rule and "for" not in rule:
        yield "for: nothing becomes 1m", rule | {"for": "1m"}
    for key in ("for", "keep_firing_for"):
        for new in _durations(rule[key]) if key in rule else ():
            yield f"{key}: {rule[key]} becomes {new}", rule | {key: new}
    expression = str(rule["expr"])
    seen: dict[str, int] = {}
    for token in TOKEN.finditer(expression):
        for new in _instead(token):
            before, after = expression[: token.start()], expression[token.end() :]
            what = _told(token, new)
            seen[what] = seen.get(what, 0) + 1
            # Several of the same kind are numbered.
            place = f" (no. {seen[what]})" if seen[what] > 1 else ""
            yield what + place, rule | {"expr": before + new + after}


def _told(token: re.Match[str], new: str) -> str:
    if token.lastgroup == "labels":
        old = _BUCKET.search(token[0])
        now = _BUCKET.search(new)
        return f"{old[0]} becomes {now[0]}" if old and now else ""
    return f"{token[0]} becomes {new}"


def _instead(token: re.Match[str]) -> list[str]:
    """Return the replacements of a token; none for a name."""
    if token.lastgroup == "comparison":
        return list(_TURNED[token[0]])
    if token.lastgroup == "number":
        return _numbers(token[0])
    if token.lastgroup == "window":
        return [
            token[0][: part.start()] + new + token[0][part.end() :]
            for part in _DURATION.finditer(token[0])
            for new in _durations(part[0])
        ]
    # The bucket boundary in `le` is a threshold as well.
    bucket = _BUCKET.search(token[0]) if token.lastgroup == "labels" else None
    if bucket is None:
        return []
    return [token[0].replace(bucket[0], f'le="{float(bucket[1]) * factor:g}"') for factor in (0.5, 2)]


def _numbers(text: str) -> list[str]:
    """Return nearby values: a fifth more or less, and 1 more or less for counts.

    A share near 1 is moved by its distance to 1: 0.8 and 1.25 times 0.95 would be far away and impossible.
    """
    value = float(text)
    if value == 0:
        return ["1"]
    if 0.5 < value < 1:  # noqa: PLR2004  # nearer to all than to nothing
        return [f"{1 - (1 - value) * factor:.6g}" for factor in (1.25, 0.8)]
    if value.is_integer():
        step = max(1, round(value / 5))
        return [str(int(value) - step), str(int(value) + step)]
    return [f"{value * factor:.6g}" for factor in (0.8, 1.25)]


def _durations(text: str) -> list[str]:
    length = parse_duration(text)
    shorter = [one for one in _SCALE if parse_duration(one) < length]
    longer = [one for one in _SCALE if parse_duration(one) > length]
    return [*shorter[-1:], *longer[:1]]
