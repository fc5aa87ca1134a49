"""Turns the statements of `receiver.store.sql` into PostgreSQL's, and what is bound to them into what it stores."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

# A text, a quoted name, a cast and a comment are stepped over; what follows them is a placeholder or of SQLite alone.
_TOKEN = re.compile(
    r"""(?P<kept>'(?:[^']|'')*' | "[^"]*" | :: | --[^\n]*)
    | (?P<hint>\bINDEXED\ BY\ \w+)
    | json_extract\(CAST\((?P<document>\w+)\ AS\ TEXT\),\ '\$\.(?P<path>[\w.]+)'\)
    | (?P<list>\bjson_each\()
    | (?P<integer>\bAS\ INTEGER\))
    | \?(?P<number>\d*)
    | :(?P<name>\w+)""",
    re.VERBOSE,
)
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


class Translated(msgspec.Struct, frozen=True):
    """A statement with ``$n`` for its placeholders, and which parameter each of them is."""

    sql: str
    order: tuple[int | str, ...]


@cache
def translated(sql: str) -> Translated:
    """Translate one of our own statements; there are some hundred of them."""
    order = list[int | str]()

    def place(parameter: int | str) -> str:
        if parameter not in order:
            order.append(parameter)
        return f"${order.index(parameter) + 1}"

    def replace(match: re.Match[str]) -> str:
        kind, value = match.lastgroup, match.group(match.lastgroup or 0)
        if kind == "path":
            return (
                f"(convert_from({match['document']}, 'UTF8')::json #>> '{{{value.replace('.', ',')}}}' COLLATE \"C\")"
            )
        if kind == "number":
            return place(int(value) - 1 if value else len(order))
        if kind == "name":
            return place(value)
        return {"kept": value, "hint": "", "list": "json_texts(", "integer": "AS BIGINT)"}[kind or ""]

    return Translated(_TOKEN.sub(replace, sql), tuple(order))


def bound(order: tuple[int | str, ...], parameters: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    """Give the parameters in the order of their placeholders."""
    return [stored(parameters[one]) for one in order]  # type: ignore[index]  # numbers for a sequence, else names


def stored(value: object) -> object:
    """PostgreSQL's text holds no NUL: https://www.postgresql.org/docs/current/datatype-character.html."""
    if not isinstance(value, str):
        return value
    value = str.__str__(value).replace("\0", "\ufffd")
    return _NUL.sub(r"\1\\ufffd", value) if "\\u0000" in value else value
