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
    | (?P<without>NOT\ )?\bIN\ \(SELECT\ (?:value|(?P<whole>CAST\(value\ AS\ INTEGER\)))
        \ FROM\ json_each\((?P<members>\?|:\w+)\)\)
    | (?P<list>\bjson_each\()
    | (?P<integer>\bAS\ INTEGER\))
    | \?(?P<number>\d*)
    | :(?P<name>\w+)""",
    re.VERBOSE,
)
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


# SQLite keeps the order of a CROSS JOIN. Without statistics PostgreSQL would look at all members of a receiver for each
# group; it keeps the order of what is LATERAL, and OFFSET 0 lets it look up each row by all that is asked of it.
_IN_ORDER = re.compile(r"CROSS JOIN (\w+) ON (.+?)\s+(?=GROUP BY)", re.DOTALL)


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
        if kind == "members":
            # An index takes an array. A list that is joined may be looked for in all rows until there are statistics.
            member = place(value[1:] or len(order))
            array = f"ARRAY(SELECT jsonb_array_elements_text({member}::jsonb))"
            return f"{'<> ALL' if match['without'] else '= ANY'}({array}{'::bigint[]' if match['whole'] else ''})"
        if kind == "number":
            return place(int(value) - 1 if value else len(order))
        if kind == "name":
            return place(value)
        return {"kept": value, "hint": "", "list": "json_texts(", "integer": "AS BIGINT)"}[kind or ""]

    sql = _IN_ORDER.sub(r"CROSS JOIN LATERAL (SELECT * FROM \1 WHERE \2 OFFSET 0) \1 ", sql)
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
