"""Turns paths into the configured route templates, or into a guess of one. Pure.

`/api/classes/42?tab=x` matches `/api/classes/[id]`. Templates form a tree by segment; a fixed segment wins over a
parameter. What matches no template is not kept, so no path that somebody invents costs memory.
"""

import re
from urllib.parse import unquote, urlsplit

_PARAMETER = "[]"
_REST = "[...]"
LONGEST = 2000


class Templates:
    """The tree of the configured templates: `/a/[id]`, `/a/:id` and `/a/*` for the rest."""

    def __init__(self, templates: tuple[str, ...]) -> None:
        self._root: dict[str, object] = {}
        for template in templates:
            node = self._root
            for segment in _segments(template):
                parameter = segment.startswith((":", "[")) and not segment.startswith("[...")
                key = _REST if segment == "*" or segment.startswith("[...") else _PARAMETER if parameter else segment
                node = node.setdefault(key, {})  # type: ignore[assignment]  # the end of a template is kept under ""
            node[""] = template

    def match(self, path: str) -> str | None:
        """Give the template of a path or URL; None if there is none."""
        try:
            bare = urlsplit(path[:LONGEST]).path
        except ValueError:
            return None
        found = _walk(self._root, _segments(bare))
        return found if isinstance(found, str) else None


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _walk(node: dict[str, object], segments: list[str]) -> object:
    if not segments:
        return node.get("")
    for key, rest in ((segments[0], segments[1:]), (_PARAMETER, segments[1:]), (_REST, [])):
        child = node.get(key)
        if key and isinstance(child, dict):
            found = _walk(child, rest)
            if found is not None:
                return found
    return None


# What is surely no name of a page: numbers, UUIDs, hexadecimal digests, dates, long tokens.
_VARIABLE = re.compile(
    r"\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{12,}|0x[0-9a-f]+"
    r"|\d{4}-\d{2}(?:-\d{2})?|[\w~-]{24,}|[\w-]*\d[\w-]*\d[\w-]*\d[\w-]*",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._~-]{0,39}")
_DEEPEST = 8


def guess(path: str) -> str | None:
    """Make a template of a path that no configured one matches; None for what does not look like a page's path.

    Query and fragment are gone, each segment that may be a value is `[id]`. A guess never holds what may be personal:
    segments are decoded once and must be plain words.
    """
    try:
        segments = _segments(unquote(urlsplit(path[:LONGEST]).path))
    except ValueError:
        return None
    if len(segments) > _DEEPEST:
        return None
    found = ["[id]" if _VARIABLE.fullmatch(segment) else segment for segment in segments]
    if any(segment != "[id]" and not _NAME.fullmatch(segment) for segment in found):
        return None
    return "/" + "/".join(found)
