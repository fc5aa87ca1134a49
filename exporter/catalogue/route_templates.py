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
        for template in templates:
            node = self._root
            for segment in _segments(template):
                parameter = segment.startswith((":", "[")) and not segment.startswith("[...")
                key = _REST if segment == "*" or segment.startswith("[...") else _PARAMETER if parameter else segment
                node = node.setdefault(key, {})  # type: ignore[assignment]  # the template itself is under ""
            node[""] = template

    def match(self, path: str) -> str | None:
        """Return the template of a path or URL; None if there is none."""
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


# Segments that are values and not names: numbers, UUIDs, hexadecimal digests, dates, long tokens.
_VARIABLE = re.compile(
    r"\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{12,}|0x[0-9a-f]+"
    r"|\d{4}-\d{2}(?:-\d{2})?|[\w~-]{24,}|[\w-]*\d[\w-]*\d[\w-]*\d[\w-]*",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._~-]{0,39}")
_MAX_DEPTH = 8


def guess(path: str) -> str | None:
    """Guess the template of a path that matches no configured one; None if it does not look like a page's path.

    Query and fragment are cut off; a segment that may be a value becomes `[id]`. A guess never has personal data:
    segments are percent-decoded once and must be plain words.
    """
    try:
        segments = _segments(unquote(urlsplit(path[:_MAX_PATH]).path))
    except ValueError:
        return None
    if len(segments) > _MAX_DEPTH:
        return None
    template = ["[id]" if _VARIABLE.fullmatch(segment) else segment for segment in segments]
    if any(segment != "[id]" and not _NAME.fullmatch(segment) for segment in template):
        return None
    return "/" + "/".join(template)
