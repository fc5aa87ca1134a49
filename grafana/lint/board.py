"""A dashboard's JSON -> frozen values with what the checks look at. Pure."""

import json
from typing import Any

import msgspec


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the JSON; what no check needs is left out here, and judged by the round trip alone."""


class Source(_Part, frozen=True):
    """Which data source is asked."""

    type: str = ""
    uid: str = ""


class Target(_Part, frozen=True):
    """One query of a panel."""

    ref: str = msgspec.field(name="refId", default="")
    expr: str = ""
    legend: str = msgspec.field(name="legendFormat", default="")
    format: str = ""
    instant: bool = False
    hide: bool = False
    datasource: Source | None = None


class Step(_Part, frozen=True):
    """A threshold; the first of a panel has no value and gives the colour below all others."""

    value: float | None = None
    color: str = ""


class Steps(_Part, frozen=True):
    """The thresholds of a panel or of one of its series; `mode` is absolute or percentage."""

    mode: str = "absolute"
    steps: list[Step] = []


class Mode(_Part, frozen=True):
    """A setting that is an object with a mode."""

    mode: str = ""


class Link(_Part, frozen=True):
    """A link of a dashboard, a panel or a value; a list of dashboards is one of type dashboards, without a URL."""

    title: str = ""
    url: str = ""
    type: str = ""
    keep_time: bool = msgspec.field(name="keepTime", default=False)
    include_vars: bool = msgspec.field(name="includeVars", default=False)


class Custom(_Part, frozen=True):
    """What only this kind of panel draws."""

    thresholds_style: Mode = msgspec.field(name="thresholdsStyle", default=Mode())


class Defaults(_Part, frozen=True):
    """How a panel shows its values."""

    unit: str = ""
    no_value: str = msgspec.field(name="noValue", default="")
    color: Mode = Mode()
    thresholds: Steps = Steps()
    custom: Custom = Custom()
    links: list[Link] = []


class Property(_Part, frozen=True):
    """One setting of an override."""

    id: str
    value: Any = None


class Override(_Part, frozen=True):
    """How some of the values are shown instead."""

    properties: list[Property] = []


class Field(_Part, frozen=True):
    """All about how values are shown."""

    defaults: Defaults = Defaults()
    overrides: list[Override] = []


class Options(_Part, frozen=True):
    """The text of a text panel, and what of a single number is coloured."""

    content: str = ""
    color_mode: str = msgspec.field(name="colorMode", default="")


class Place(_Part, frozen=True):
    """Where a panel lies on the grid of 24 columns."""

    x: int = 0
    y: int = 0
    w: int = 0
    h: int = 0


class Panel(_Part, frozen=True):
    """One panel, or a row with the panels that it hides."""

    id: int | None = None
    type: str = ""
    title: str = ""
    description: str = ""
    datasource: Source | None = None
    place: Place | None = msgspec.field(name="gridPos", default=None)
    targets: list[Target] = []
    field: Field = msgspec.field(name="fieldConfig", default=Field())
    options: Options = Options()
    links: list[Link] = []
    panels: list["Panel"] = []
    collapsed: bool = False
    repeat: str | None = None

    def __str__(self) -> str:
        """Name it as a reader finds it."""
        return f'panel {self.id} "{self.title}"'

    def overridden(self, setting: str) -> list[Any]:
        """Give the values that overrides have for a setting."""
        return [one.value for override in self.field.overrides for one in override.properties if one.id == setting]


class Variable(_Part, frozen=True):
    """What a reader chooses at the head of the dashboard."""

    name: str = ""
    type: str = ""
    label: str = ""
    query: str | dict[str, Any] = ""
    datasource: Source | None = None
    multi: bool = False
    include_all: bool = msgspec.field(name="includeAll", default=False)
    all_value: str | None = msgspec.field(name="allValue", default=None)
    refresh: int = 0
    current: dict[str, Any] = {}

    def __str__(self) -> str:
        """Name it as a reader finds it."""
        return f"variable ${self.name}"

    def text(self) -> str:
        """Give the query in either of the two forms that Grafana writes."""
        return self.query if isinstance(self.query, str) else str(self.query.get("query", ""))


class Annotation(_Part, frozen=True):
    """Marks on the time axis."""

    name: str = ""
    expr: str | None = None
    target: Target | None = None
    datasource: Source | None = None
    built_in: int = msgspec.field(name="builtIn", default=0)

    def __str__(self) -> str:
        """Name it as a reader finds it."""
        return f'annotation "{self.name}"'

    def text(self) -> str:
        """Give the query in either of the two forms that Grafana reads."""
        return self.expr or (self.target.expr if self.target else "")


class Variables(_Part, frozen=True):
    """The list within `templating`."""

    every: list[Variable] = msgspec.field(name="list", default_factory=list)


class Annotations(_Part, frozen=True):
    """The list within `annotations`."""

    every: list[Annotation] = msgspec.field(name="list", default_factory=list)


class Board(_Part, frozen=True):
    """A dashboard."""

    uid: str = ""
    title: str = ""
    description: str = ""
    editable: bool = True
    schema: int = msgspec.field(name="schemaVersion", default=0)
    templating: Variables = Variables()
    annotations: Annotations = Annotations()
    links: list[Link] = []
    panels: list[Panel] = []

    def every(self) -> list[Panel]:
        """Give rows and panels, those within collapsed rows as well, in reading order."""
        return [one for panel in self.panels for one in (panel, *panel.panels)]

    def shown(self) -> list[Panel]:
        """Give all that is no row."""
        return [panel for panel in self.every() if panel.type != "row"]

    def asking(self) -> list[Panel]:
        """Give the panels that show values, and not a text or a list that Grafana makes itself."""
        return [panel for panel in self.shown() if panel.type not in ("text", "dashlist", "news")]


class Document(_Part, frozen=True):
    """A dashboard with the file that it comes from."""

    path: str
    text: str
    raw: dict[str, Any]
    board: Board

    def line(self, panel: Panel | None = None) -> int:
        """Say where the panel's title stands, from 1; 1 if nowhere."""
        if panel is None:
            return 1
        for title in (json.dumps(panel.title), json.dumps(panel.title, ensure_ascii=False)):
            at = self.text.find(f'"title": {title}')
            if at >= 0:
                return self.text.count("\n", 0, at) + 1
        return 1


def parse(path: str, text: str) -> Document:
    """Read one file; ValueError says what is wrong with it."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ValueError(f"this is no JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError("this is no JSON object; write a dashboard")  # noqa: TRY004  # of the file, not of an argument
    if "dashboard" in raw and "panels" not in raw:
        raise ValueError('this is the envelope of the HTTP API; keep only what is inside "dashboard"')
    try:
        return Document(path=path, text=text, raw=raw, board=msgspec.convert(raw, Board))
    except msgspec.ValidationError as error:
        raise ValueError(f"{error}; write what Grafana expects there") from error
