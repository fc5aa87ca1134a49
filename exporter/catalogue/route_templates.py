"""Maps a path to a configured route template, or guesses one. Pure.

`/api/classes/42?tab=x` matches `/api/classes/[id]`. Templates form a tree by segment; a fixed segment wins over a
number, a number over any other parameter, and that over a rest. Segments are compared percent-decoded and in Unicode's
form NFC. Paths that match no template are not kept, so invented paths cost no memory.
"""

import re
from collections.abc import Iterator
from enum import Enum
from unicodedata import category, normalize
from urllib.parse import unquote, urlsplit

_MAX_PATH = 2000
_MAX_SPELLINGS = 8  # of one template, which has as many as its optional segments can be there or not


class TemplateError(ValueError):
    """A template that can never match; ``index`` is its place in the list, and the text says why."""

    def __init__(self, message: str, index: int = 0) -> None:
        super().__init__(message)
        self.index = index


class _Any(Enum):
    """What a parameter stands for, the closest first."""

    NUMBER = "one segment of digits"
    SEGMENT = "one segment"
    REST = "all segments that follow, at least one"


_Key = str | _Any
# How frameworks write parameters: Next.js [id], [...rest] and [[...rest]]; path-to-regexp (Express, Vue) :id, :id?,
# :id*, :id+ and :id(\d+); Starlette, aiohttp, ASP.NET and Go {id}, {id:int}, {id:\d+}, {id?}, {rest:path}, {*rest} and
# {rest...}; Flask and Django <id>, <int:id> and <path:rest>; Remix $id and $; SvelteKit [[id]] and [id=matcher]. The
# last value: whether it may be left out.
_PARAMETERS: tuple[tuple[re.Pattern[str], _Any, bool], ...] = tuple(
    (re.compile(pattern), key, optional)
    for pattern, key, optional in (
        (r"\[\[\.\.\.[\w-]+\]\]|:\w+(?:\([^()]*\))?\*|\{\w+:(?:path|\.\*)\}|\$", _Any.REST, True),
        (r"\*\w*|\[\.\.\.[\w-]+\]|:\w+(?:\([^()]*\))?\+", _Any.REST, False),
        (r"\{\*{1,2}\w+\}|\{\w+\.\.\.\}|\{\w+:\.\+\}|<path:\w+>", _Any.REST, False),
        (r":\w+\((?:\\d|\[0-9\])\+\)\?|\{\w+:int\?\}", _Any.NUMBER, True),
        (r":\w+\((?:\\d|\[0-9\])\+\)|\{\w+:(?:int|(?:\\d|\[0-9\])\+)\}|<int:\w+>", _Any.NUMBER, False),
        (r":\w+(?:\([^()]*\))?\?|\{\w+(?::\w+)?\?\}|\[\[[\w-]+(?:=\w+)?\]\]", _Any.SEGMENT, True),
        (r"\[[\w-]+(?:=\w+)?\]|:\w+(?:\([^()]*\))?|\$\w+", _Any.SEGMENT, False),
        (r"\{\w+(?::(?:[^{}]|\{[\d,]+\})+)?\}|<(?:\w+:)?\w+>", _Any.SEGMENT, False),
    )
)
# What a fixed segment cannot have, and why. Next.js, SvelteKit and Expo leave (group) out of the path and intercept
# another's with (.), (..) or (...); Rails writes its optional ending as (.:format).
_REFUSED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"\?", "paths end before '?' (as a character of a path, write %3F)"),
        (r"#", "paths end before '#' (as a character of a path, write %23)"),
        (r"\\", "browsers turn a backslash into a slash (the character itself is %5C)"),
        (r"[\[\]{}<>*]|^:", "{!r} is neither a parameter, e.g. [id], nor a name"),
        (
            r"^\([\w-]+\)$|^\(\.{1,3}\)|\(\.:\w+\)$",
            "{!r} is in no path; leave it out (the characters themselves are %28 and %29)",
        ),
        (r"%(?![0-9A-Fa-f]{2})", "{!r} has a % without two hexadecimal digits (the character itself is %25)"),
    )
)


class _Node:
    """A place in the tree: the template that ends here, and what may follow."""

    __slots__ = ("branches", "template")

    def __init__(self) -> None:
        self.branches: dict[_Key, _Node] = {}
        self.template: str | None = None


class Templates:
    """The tree of the configured templates; TemplateError names the first that could never match."""

    def __init__(self, templates: tuple[str, ...]) -> None:
        self._root = _Node()
        self._templates = frozenset(templates)
        spellings = [_parsed(template, index) for index, template in enumerate(templates)]
        # What is written without optional segments wins, wherever it stands in the list.
        for index in sorted(range(len(templates)), key=lambda index: len(spellings[index])):
            self._add(templates[index], spellings[index], index)

    def _add(self, template: str, spellings: list[list[_Key]], index: int) -> None:
        ends = [self._end(keys) for keys in spellings]
        free = [end for end in ends if end.template is None]
        if not free:
            raise TemplateError(f"{template!r} can never match: {ends[0].template!r} matches all of its paths", index)
        for end in free:
            end.template = template

    def _end(self, keys: list[_Key]) -> _Node:
        node = self._root
        for key in keys:
            node = node.branches.setdefault(key, _Node())
        return node

    def match(self, path: str) -> str | None:
        """Return the template of a path or URL, and of a template itself; None if there is none."""
        if path in self._templates:
            return path
        try:
            bare = _path_of(path[:_MAX_PATH])
        except ValueError:
            return None
        return _walk(self._root, [_plain(segment) for segment in _segments(bare)])


def _path_of(text: str) -> str:
    """Return the path of a path or URL. Two slashes begin no host: scanners ask servers for `//wp-admin`."""
    return re.split(r"[?#]", text, maxsplit=1)[0] if text.startswith("/") else urlsplit(text).path


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _plain(segment: str) -> str:
    """Undo the ways to write one segment; what decodes to no text stays what it is."""
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return segment
    return normalize("NFC", decoded)


def _walk(node: _Node, segments: list[str]) -> str | None:
    if not segments:
        return node.template
    for key, rest in _ways(segments):
        child = node.branches.get(key)
        template = _walk(child, rest) if child else None
        if template is not None:
            return template
    return None


def _ways(segments: list[str]) -> Iterator[tuple[_Key, list[str]]]:
    first, others = segments[0], segments[1:]
    yield first, others
    if first.isascii() and first.isdecimal():
        yield _Any.NUMBER, others
    yield _Any.SEGMENT, others
    yield _Any.REST, []


def _parsed(template: str, index: int) -> list[list[_Key]]:
    """Return the keys of a template, once for each way to leave out its optional segments."""
    try:
        return _spellings(template)
    except TemplateError as error:
        raise TemplateError(f"{template!r} can never match: {error}", index) from error


def _spellings(template: str) -> list[list[_Key]]:
    spellings: list[list[_Key]] = [[]]
    for segment in _written(template):
        key, optional = _key(segment)
        if any(keys and keys[-1] is _Any.REST for keys in spellings):
            raise TemplateError("what stands for the rest of a path must be its last segment")
        longer = [[*keys, key] for keys in spellings]
        spellings = longer + spellings if optional else longer
        if len(spellings) > _MAX_SPELLINGS:
            raise TemplateError("it has too many optional segments")
    return spellings


def _written(template: str) -> list[str]:
    """Split a template; one slash at each end may be there or not, as in paths."""
    if "://" in template:
        raise TemplateError("expected a path without scheme and host, e.g. /courses/[id]")
    inner = template.removeprefix("/").removesuffix("/")
    segments = inner.split("/") if inner else []
    if not template or "" in segments or template == "//":
        raise TemplateError("it has an empty segment")
    return segments


def _key(segment: str) -> tuple[_Key, bool]:
    """Return what a written segment matches, and whether it may be left out."""
    for pattern, kind, optional in _PARAMETERS:
        if pattern.fullmatch(segment):
            return kind, optional
    return _fixed(segment), False


def _fixed(segment: str) -> str:
    for pattern, reason in _REFUSED:
        if pattern.search(segment):
            raise TemplateError(reason.format(segment))
    try:
        plain = normalize("NFC", unquote(segment, errors="strict"))
    except UnicodeDecodeError:
        raise TemplateError(f"{segment!r} is not percent-encoded UTF-8") from None
    if plain in {".", ".."}:
        raise TemplateError(f"browsers resolve {segment!r}")
    if any(category(character) == "Cc" for character in plain):
        raise TemplateError(f"{segment!r} has a control character")
    return plain


# Segments that are values and not names: numbers, UUIDs, hexadecimal digests, dates, long tokens, and whatever has
# three digits. No two repetitions follow each other, so that the time is in proportion to the segment's length.
_HEX = re.compile(r"(?:0x)?[0-9a-f]{12,}|0x[0-9a-f]+", re.IGNORECASE)
_TOKEN = re.compile(r"[\w~-]+")
_LONG = 24  # characters from which on a token is a value
_DIGITS = 3  # digits from which on a token is a value
_LONGEST_NAME = 40  # characters
_VALUE = "[id]"
_MAX_DEPTH = 8
_MAX_SEGMENT = 200  # characters


def _is_value(segment: str) -> bool:
    """Whether a segment is a value that varies, and not a name; a template's own `[id]` stays what it is."""
    if segment == _VALUE or segment.isdecimal() or _HEX.fullmatch(segment):
        return True
    if not _TOKEN.fullmatch(segment):
        return False
    return len(segment) >= _LONG or sum(map(str.isdecimal, segment)) >= _DIGITS


def _is_name(segment: str) -> bool:
    """Whether a segment is a plain word of any script: letters with their marks, digits, and . _ ~ -."""
    if len(segment) > _LONGEST_NAME or not segment[0].isalpha():
        return False
    return all(one.isalnum() or one in "._~-" or category(one) in {"Mn", "Mc"} for one in segment)


def guess(path: str) -> str | None:
    """Guess the template of a path that matches no configured one; None if it does not look like a page's path.

    Query and fragment are cut off; a segment that may be a value becomes `[id]`. A guess never has personal data:
    segments are percent-decoded once and must be plain words.
    """
    try:
        written = _segments(_path_of(path[:_MAX_PATH]))
    except ValueError:
        return None
    if len(written) > _MAX_DEPTH:
        return None
    segments = [_plain(segment) for segment in written]
    if any(len(segment) > _MAX_SEGMENT for segment in segments):
        return None
    template = [_VALUE if _is_value(segment) else segment for segment in segments]
    if any(segment != _VALUE and not _is_name(segment) for segment in template):
        return None
    return "/" + "/".join(template)
