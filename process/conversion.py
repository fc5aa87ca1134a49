"""Lists everything that is wrong with settings, each with its place and fix, in words of YAML and not of msgspec."""

import difflib
import re
import types
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from process.findings import SettingsError

Hook = Callable[[type[Any], object], object]

_PATH = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`$")
_GOT = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<got>[^`]+)`")
_LENGTH = re.compile(r"Expected `(?P<what>str|array|object)` of length (?P<sign>>=|<=) (?P<limit>\d+)")
_BOUND = re.compile(r"Expected `(?:int|float)` (?P<sign>>=|<=|>|<) (?P<limit>\S+)")
_REGEX = re.compile(r"Expected `str` matching regex (?P<regex>.+)")
_INVALID = re.compile(r"Invalid enum value (?P<value>.+)")
_TYPES = {
    "object": "a mapping (key: value)",
    "array": "a list",
    "str": "text; quote it, if it is a number or a date",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
}
_SIGNS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


class Problem(NamedTuple):
    """One error: the path of the key, and what to do about it."""

    at: str
    text: str


def problems(kind: Any, value: object, at: str, hook: Hook) -> Iterator[Problem | SettingsError]:  # noqa: ANN401  # a type
    """Find every error of ``value`` as a ``kind``; a SettingsError is the hook's own."""
    is_inside = False
    for problem in _inside(kind, value, at, hook):
        yield problem
        is_inside = True
    if is_inside:
        return
    try:
        msgspec.convert(value, kind, dec_hook=hook)
    except msgspec.ValidationError as error:
        text = str(error)
        match = _PATH.search(text)
        below, text = (match["path"], text[: match.start()]) if match else ("", text)
        yield Problem(f"{at}{below}", words(kind, text))
    except SettingsError as error:
        yield error


def _inside(kind: Any, value: object, at: str, hook: Hook) -> Iterator[Problem | SettingsError]:  # noqa: ANN401  # a type
    """Look below a mapping or a list, key by key."""
    kind = _plain(kind, value)
    if isinstance(value, dict):
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from _fields(kind, value, at, hook)
        elif get_origin(kind) is dict:
            key_type, value_type = get_args(kind)
            for key, child in value.items():
                yield from _key(key_type, key, at, hook)
                yield from problems(value_type, child, f"{at}.{key}", hook)
    elif isinstance(value, list) and get_origin(kind) in {list, tuple, set, frozenset}:
        for number, child in enumerate(value):
            yield from problems(get_args(kind)[0], child, f"{at}[{number}]", hook)


def _fields(
    kind: type[msgspec.Struct], value: dict[Any, object], at: str, hook: Hook
) -> Iterator[Problem | SettingsError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in value:
        if name not in fields and kind.__struct_config__.forbid_unknown_fields:
            yield Problem(f"{at}.{name}", f"unknown key{nearest(str(name), fields) or _known(fields)}")
    for name, field in fields.items():
        if name in value:
            yield from problems(field.type, value[name], f"{at}.{name}", hook)
        elif field.required:
            wanted = expected(field.type)
            yield Problem(f"{at}.{name}", f"missing; add it{f' ({wanted})' if wanted else ''}")


def _key(kind: Any, key: object, at: str, hook: Hook) -> Iterator[Problem]:  # noqa: ANN401  # a type
    try:
        msgspec.convert(key, kind, dec_hook=hook)
    except msgspec.ValidationError as error:
        yield Problem(f"{at}.{key}", words(kind, str(error)))


def _plain(kind: Any, value: object) -> Any:  # noqa: ANN401  # a type
    """Take away Annotated, and of a union all but what can hold this value; None if that is not one type."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0], value)
    if get_origin(kind) not in {Union, types.UnionType}:
        return kind
    fitting = [one for one in get_args(kind) if _holds(one, value)]
    return _plain(fitting[0], value) if len(fitting) == 1 else None


def _holds(kind: Any, value: object) -> bool:  # noqa: ANN401  # a type
    """Say whether a mapping or a list could be of this kind."""
    if get_origin(kind) is Annotated:
        return _holds(get_args(kind)[0], value)
    if isinstance(value, dict):
        return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))
    return isinstance(value, list) and get_origin(kind) in {list, tuple, set, frozenset}


def words(kind: Any, text: str) -> str:  # noqa: ANN401  # a type
    """Say what msgspec says in words of YAML, with what is expected instead; other texts are ours and stay."""
    for pattern, say in ((_INVALID, _choose), (_GOT, _got), (_LENGTH, _length), (_BOUND, _bound), (_REGEX, _form)):
        match = pattern.fullmatch(text)
        if match:
            return say(kind, match)
    return text


def _choose(kind: Any, match: re.Match[str]) -> str:  # noqa: ANN401  # a type
    wanted = expected(kind)
    return f"invalid value {match['value']}{f' ({wanted})' if wanted else ''}"


def _got(kind: Any, match: re.Match[str]) -> str:  # noqa: ANN401  # a type
    wanted = expected(kind) or "expected " + " or ".join(_TYPES.get(one, one) for one in match["wanted"].split(" | "))
    if match["got"] == "null" and match["wanted"] == "str":
        return "is empty (expected text; quote it if it begins with #)"
    if match["got"] == "null":
        return f"is empty ({wanted})"
    return f"is {_TYPES.get(match['got'], match['got']).partition(' (')[0].partition(';')[0]} ({wanted})"


def _length(_kind: Any, match: re.Match[str]) -> str:  # noqa: ANN401  # a type
    limit = int(match["limit"])
    if (match["sign"], limit) == (">=", 1):
        return f"empty; {'write something' if match['what'] == 'str' else 'name at least one'}"
    unit = {"str": "characters"}.get(match["what"], "entries")
    return f"invalid length (expected {_SIGNS[match['sign']]} {limit} {unit})"


def _bound(_kind: Any, match: re.Match[str]) -> str:  # noqa: ANN401  # a type
    return f"out of range (expected {_SIGNS[match['sign']]} {match['limit']})"


def _form(kind: Any, match: re.Match[str]) -> str:  # noqa: ANN401  # a type
    examples = [one for meta in getattr(kind, "__metadata__", ()) for one in getattr(meta, "examples", None) or ()]
    if examples:
        return f"invalid form (expected e.g. {examples[0]})"
    return f"invalid form (expected what matches {match['regex']})"


def expected(kind: Any) -> str:  # noqa: ANN401  # a type
    """Say what may be written there; "" if only the type's own error can tell."""
    if get_origin(kind) is Annotated:
        return expected(get_args(kind)[0])
    if get_origin(kind) in {Union, types.UnionType}:
        parts = [expected(one).removeprefix("expected ") for one in get_args(kind) if one is not types.NoneType]
        return f"expected {' or '.join(parts)}" if all(parts) else ""
    if get_origin(kind) is Literal:
        return _one_of(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _one_of(member.value for member in kind)
    return _of_type(kind)


def _of_type(kind: Any) -> str:  # noqa: ANN401  # a type
    origin = get_origin(kind) or kind
    if not isinstance(origin, type):
        return ""
    if hasattr(origin, "from_source") or issubclass(origin, msgspec.Struct | dict):
        return f"expected {_TYPES['object']}"
    simple: dict[type, str] = {list: "array", tuple: "array", str: "str", int: "int", float: "float", bool: "bool"}
    if origin in simple:
        return f"expected {_TYPES[simple[origin]]}"
    return "expected a path" if origin is Path else getattr(origin, "EXPECTED", "")


def _one_of(values: Any) -> str:  # noqa: ANN401  # any values
    *most, last = [str(value) or '""' for value in values]
    return f"expected {', '.join(most)} or {last}" if most else f"expected {last}"


def nearest(word: str, known: Any) -> str:  # noqa: ANN401  # any collection of words
    """Suggest the known word that a misspelt one is most like; "" if none is close."""
    by_case = {str(one).casefold(): str(one) for one in known}
    close = difflib.get_close_matches(word.casefold(), by_case, n=1, cutoff=0.6)
    return f"; did you mean {by_case[close[0]]!r}?" if close else ""


def _known(words: Any) -> str:  # noqa: ANN401  # any collection of words
    return f" (expected one of {', '.join(words)})" if words else ""
