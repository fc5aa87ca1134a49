"""Building blocks of dashboards: panels, queries, limits, and texts for missing data."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL and the legend of its series. Every selector has braces, where the environment is inserted.

    A faint one is there to compare with: a limit, or the week before. One of a ``priority`` is left out where the
    receiver's configuration has no such priority.
    """

    expr: str
    legend: str
    faint: bool = False
    exemplars: bool = False
    priority: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """A number from the rules, which side of it is bad, and the colour for it."""

    value: float
    bad: Literal["above", "below"]
    colour: str


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a benchmark, by its key in rules/tables/benchmarks.yml."""

    key: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold of an alert; ``position`` selects one of several."""

    alert: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class Burn:
    """The burn rate at which this alert fires (rules/tables/slo.yml)."""

    alert: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The response time of a priority."""

    priority: str


@dataclass(frozen=True, slots=True)
class Count:
    """The number of benchmarks; meeting fewer is bad."""


Number = Limit | Target | Rule | Burn | Answer | Count


@dataclass(frozen=True, slots=True)
class Word:
    """The text shown instead of a number, and its colour if it is a state."""

    value: str
    text: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: label (or ``Value``, ``Value #B``), heading, and link of its cells."""

    field: str
    heading: str
    unit: str = ""
    words: tuple[Word, ...] = ()
    limits: tuple[Number, ...] = ()
    link: str = ""
    link_title: str = ""
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What all panels have in common.

    ``id`` must never change: links and runbooks use it. ``empty`` is what no data means. ``about`` may name numbers:
    ``{cpu}`` is the target of that benchmark, ``{BackupStale}`` the limit of that alert, ``{P1}`` a response time.
    ``width`` is of 24; `lines` sets it. ``leads_to`` are links: their texts, and the uids of dashboards, to which the
    time range and the variables go along.
    """

    id: int
    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    empty: str
    width: int = 0
    limits: tuple[Number, ...] = ()
    words: tuple[Word, ...] = ()
    explains: tuple[str, ...] = ()
    decimals: int | None = None
    leads_to: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat(Panel):
    """One large number, or one per query.

    ``units`` are those of the queries, where they differ; ``alarms`` the colours that each has from 1 on; ``goal`` is
    what it should be, said above the number, and may name numbers as ``about`` does.
    """

    units: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    goal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series(Panel):
    """Lines over time, with the limits as dashed lines.

    ``interval`` is the least time between two points, for what happens so rarely that each point would be noise.
    """

    largest: float | None = None
    smallest: float | None = 0
    interval: str = ""
    stacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars(Panel):
    """A bar per series with its last value."""

    largest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class States(Panel):
    """States over time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Panel):
    """The last values as a table, the worst first."""

    columns: tuple[Column, ...]
    sort: str
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """Panels side by side; their widths add up to 24."""

    height: int
    panels: tuple[Panel, ...]


def lines(height: int, *panels: Panel, across: int = 2) -> tuple[Line, ...]:
    """Put panels of equal width side by side, so many on a line."""
    placed = [replace(panel, width=24 // across) for panel in panels]
    return tuple(Line(height, tuple(placed[at : at + across])) for at in range(0, len(placed), across))


@dataclass(frozen=True, slots=True)
class Section:
    """A row with a heading; its ``id`` must differ from those of panels.

    A folded one is for a second look: its panels ask nothing until the row is opened.
    """

    id: int
    title: str
    lines: tuple[Line, ...]
    folded: bool = False

    def panel(self, number: int) -> Panel:
        """Return the panel with this id."""
        return next(panel for line in self.lines for panel in line.panels if panel.id == number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard; ``variables`` are those in addition to data source and environment."""

    uid: str
    title: str
    about: str
    span: str
    refresh: str
    variables: tuple[Literal["job", "team", "host"], ...]
    sections: tuple[Section, ...]

    def panels(self) -> tuple[Panel, ...]:
        """Return all panels in reading order."""
        return tuple(panel for section in self.sections for line in section.lines for panel in line.panels)
