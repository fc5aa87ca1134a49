"""Write the numbers of rules/tables/thresholds.yml into rules that are otherwise edited by hand."""

import re
from typing import Annotated

import msgspec

_NUMBER = r"-?\d+(?:\.\d+)?(?![\w.])"
_END = re.compile(r"^ {4,6}- |^  - |\Z", re.MULTILINE)
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9]+$")]
Duration = Annotated[str, msgspec.Meta(pattern=r"^\d+(ms|[smhdw])$")]


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The numbers of one alert: what each series is compared with, and the first limit as shown to people."""

    alert: Name
    limits: Annotated[dict[str, float], msgspec.Meta(min_length=1)]
    shown: str
    for_: Duration = msgspec.field(name="for")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    thresholds: list[Threshold]


def written(table: Table, files: dict[str, str]) -> dict[str, str]:
    """Return the rule files with the table's numbers in them.

    Raises:
        ValueError: the table names an alert or series that no file has.

    """
    changed = dict(files)
    for threshold in table.thresholds:
        name = next((name for name, text in changed.items() if f"- alert: {threshold.alert}\n" in text), None)
        if name is None:
            raise ValueError(f"{threshold.alert}: no rule file has an alert with this name")
        text = changed[name]
        start = text.index(f"- alert: {threshold.alert}\n")
        end = _END.search(text, start + 1)
        stop = end.start() if end else len(text)
        changed[name] = text[:start] + _rule(threshold, text[start:stop]) + text[stop:]
    return changed


def _rule(threshold: Threshold, text: str) -> str:
    for series, limit in threshold.limits.items():
        compared = rf"(?<![\w:])({re.escape(series)}\s*[<>]=?\s*){_NUMBER}"
        text = _replaced(threshold, text, compared, f"{limit:g}", f"a comparison of {series} with a number")
    text = _replaced(threshold, text, r"(\n +for: )\S+", threshold.for_, "a `for`")
    return _replaced(
        threshold, text, r"(\(threshold )[^)]*(?=\))", threshold.shown, '"(threshold …)" in its description'
    )


def _replaced(threshold: Threshold, text: str, pattern: str, value: str, what: str) -> str:
    new, count = re.subn(pattern, lambda match: match[1] + value, text)
    if count != 1:
        raise ValueError(f"{threshold.alert}: found {what} {count} times in the rule (expected once)")
    return new
