"""The round trip through Grafana's own types: what they do not know, they lose, and the loss has a name."""

import difflib
import json
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.lint.board import Document
from grafana.lint.scene import Complaint, Scene


def unknown_key(document: Document, _: Scene) -> Iterator[Complaint]:
    """A key or value that Grafana's schema does not have, usually a typo: Grafana ignores it."""
    try:
        after = _through(document.raw)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        yield Complaint(
            None, f"Grafana's types cannot read it: {error}", "compare its shape with a generated dashboard"
        )
        return
    for path, lost, like in _lost(document.raw, after, ()):
        panel = _panel(document, path)
        where = ".".join(map(str, path))
        fix = f"write {like}" if like else "remove it, or write it as Grafana's schema has it"
        yield Complaint(panel, f"Grafana does not know {lost} ({where})", fix)


def _through(raw: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(raw), cls=JSONEncoder))


Path = tuple[str | int, ...]


def _lost(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, str, str]]:  # noqa: ANN401  # JSON
    """Give what is in the one and not in the other; what the types add by themselves does not matter."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from _lost(value, after[key], (*path, key))
            elif value is not None:
                yield (*path, key), f"the key {key}", _meant(key, path, set(after) - set(before))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _lost(one, other, (*path, number))
    elif before != after:
        yield path, f"the value {json.dumps(before)[:60]}", ""


def _meant(key: str, path: Path, added: set[str]) -> str:
    known = added | _KEYS.get(path[-1] if path and isinstance(path[-1], str) else "", frozenset()) | _OFTEN
    return next(iter(difflib.get_close_matches(key, known, 1)), "")


# What may have been meant where Grafana's types do not add the right key by themselves.
_OFTEN = frozenset(
    (
        *(
            "title",
            "description",
            "type",
            "datasource",
            "targets",
            "options",
            "fieldConfig",
            "gridPos",
            "links",
            "panels",
        ),
        *("transformations", "templating", "refId", "expr", "legendFormat", "format", "instant", "range", "interval"),
        *("uid", "schemaVersion", "editable", "refresh", "time", "timezone", "tags", "id"),
    )
)
_KEYS = {
    "defaults": frozenset(("unit", "min", "max", "decimals", "noValue", "thresholds", "color", "custom", "mappings")),
    "custom": frozenset(("lineWidth", "fillOpacity", "showPoints", "thresholdsStyle", "drawStyle", "stacking")),
    "legend": frozenset(("displayMode", "placement", "showLegend", "calcs")),
}


def _panel(document: Document, path: Path) -> Any:  # noqa: ANN401  # the place of a complaint
    if len(path) > 1 and path[0] == "panels" and isinstance(path[1], int):
        return document.board.panels[path[1]]
    return None
