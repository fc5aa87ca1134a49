"""Reads the panels out of a Grafana dashboard, each query with its variables filled in. Pure."""

import re
from collections.abc import Iterator, Mapping

import msgspec

_VARIABLE = re.compile(r"\$\{(\w+)(?::[^}]*)?\}|\$(\w+)|\[\[(\w+)\]\]")
ALL = ("$__all", "All", ["$__all"], ["All"])


class Panel(msgspec.Struct, frozen=True):
    """One query of one panel."""

    dashboard: str
    title: str
    query: str


class _Target(msgspec.Struct):
    expr: str = ""
    hide: bool = False


class _Panel(msgspec.Struct):
    title: str = ""
    type: str = ""
    targets: list[_Target] = []  # msgspec copies a mutable default
    panels: list["_Panel"] = []


class _Current(msgspec.Struct):
    value: str | list[str] = ""


class _Variable(msgspec.Struct):
    name: str
    type: str = ""
    current: _Current = msgspec.field(default_factory=_Current)
    all_value: str | None = msgspec.field(default=None, name="allValue")
    query: msgspec.Raw = msgspec.Raw(b'""')


class _Templating(msgspec.Struct):
    list_: list[_Variable] = msgspec.field(default_factory=list, name="list")


class _Dashboard(msgspec.Struct):
    title: str
    panels: list[_Panel] = []
    templating: _Templating = msgspec.field(default_factory=_Templating)


def panels(text: bytes, length: int) -> list[Panel]:
    """Give the queries of a dashboard that is looked at over ``length`` seconds; ValueError if it is none."""
    try:
        dashboard = msgspec.json.decode(text, type=_Dashboard)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"is not a dashboard of Grafana ({error})") from error
    known = {variable.name: _value(variable) for variable in dashboard.templating.list_}
    known |= {"__rate_interval": "5m", "__interval": "5m", "__range": f"{length}s", "__range_s": str(length)}
    return [
        Panel(dashboard.title, panel.title or "(no title)", _filled(target.expr, known))
        for panel in _all(dashboard.panels)
        for target in panel.targets
        if target.expr and not target.hide
    ]


def _all(panels: list[_Panel]) -> Iterator[_Panel]:
    for panel in panels:
        yield panel
        yield from _all(panel.panels)


def _value(variable: _Variable) -> str:
    """What the variable has when the dashboard is opened; everything, where it says all or nothing."""
    if variable.type in {"constant", "interval", "textbox", "custom"} and not variable.current.value:
        text = msgspec.json.decode(variable.query)
        return str(text).partition(",")[0].strip()
    value = variable.current.value
    if not value or value in ALL:
        return variable.all_value or ".*"
    return value if isinstance(value, str) else f"({'|'.join(value)})"


def _filled(query: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: known.get(match[1] or match[2] or match[3], match[0]), query)
