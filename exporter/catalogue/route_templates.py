"""Maps a path to a configured route template, or guesses one. Pure.

`/api/classes/42?tab=x` matches `/api/classes/[id]`. Templates form a tree by segment; a fixed segment wins over a
parameter. Paths that match no template are not kept, so invented paths cost no memory.
"""

import re
from urllib.parse import unquote, urlsplit

_PARAMETER = "[]"
_REST = "[...]"
_MAX_PATH = 2000


class Templates:
    """The tree of the configured templates: `/a/[id]`, `/a/:id` and `/a/*` for the rest."""

    def __init__(self, templates: tuple[str, ...]) -> None:
        self._root: dict[str, object] = {}
        self._templates = frozenset(templates)
        for template in templates:
            node = self._root
            for segment in _segments(template):
                parameter = segment.startswith((":", "[")) and not segment.startswith("[...")
                key = _REST if segment == "*" or segment.startswith("[...") else _PARAMETER if parameter else segment
                node = node.setdefault(key, {})  # type: ignore[assignment]  # the template itself is under ""
            node[""] = template

    def match(self, path: str) -> str | None:
        """Return the template of a path or URL, and of a template itself; None if there is none."""
        if path in self._templates:
            return path
        try:
            bare = urlsplit(path[:_MAX_PATH]).path
        except ValueError:
            return None
        template = _walk(self._root, _segments(bare))
        return template if isinstance(template, str) else None


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _walk(node: dict[str, object], segments: list[str]) -> object:
    if not segments:
        return node.get("")
    for key, rest in ((segments[0], segments[1:]), (_PARAMETER, segments[1:]), (_REST, [])):
        child = node.get(key)
        if key and isinstance(child, dict):
            template = _walk(child, rest)
            if template is not None:
                return template
    return None


# Segments that are values and not names: numbers, UUIDs, hexadecimal digests, dates, long tokens, and whatever has
# three digits. No two repetitions follow each other, so that the time is in proportion to the segment's length.
_HEX = re.compile(r"(?:0x)?[0-9a-f]{12,}|0x[0-9a-f]+", re.IGNORECASE)
_TOKEN = re.compile(r"[\w~-]+")
_LONG = 24  # characters from which on a token is a value
_DIGITS = 3  # digits from which on a token is a value
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._~-]{0,39}")
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


def guess(path: str) -> str | None:
    """Guess the template of a path that matches no configured one; None if it does not look like a page's path.

    Query and fragment are cut off; a segment that may be a value becomes `[id]`. A guess never has personal data:
    segments are percent-decoded once and must be plain words.
    """
    try:
        segments = _segments(unquote(urlsplit(path[:_MAX_PATH]).path))
    except ValueError:
        return None
    if len(segments) > _MAX_DEPTH or any(len(segment) > _MAX_SEGMENT for segment in segments):
        return None
    template = [_VALUE if _is_value(segment) else segment for segment in segments]
    if any(segment != _VALUE and not _NAME.fullmatch(segment) for segment in template):
        return None
    return "/" + "/".join(template)
