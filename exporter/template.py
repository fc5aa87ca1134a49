"""Turns paths into the configured route templates, and anything else into nothing. Pure.

`/api/classes/42?tab=x` matches `/api/classes/[id]`. Templates form a tree by segment; a fixed segment wins over a
parameter. What matches no template is not kept, so no path that somebody invents costs memory.
"""

from urllib.parse import urlsplit

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
