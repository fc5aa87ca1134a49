"""Fits dashboards to a site: only the panels whose series, alerts and numbers it has stay; reads boards from YAML."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import promql_parser
import yaml

from deploy.site.rule_files import missing
from grafana.dashboards import monitoring, targets
from grafana.drawing import Place, draw
from grafana.panel import (
    Answer,
    Bars,
    Board,
    Burn,
    Column,
    Count,
    Limit,
    Line,
    Number,
    Panel,
    Query,
    Rule,
    Section,
    Series,
    Stat,
    States,
    Table,
    Target,
    Word,
)
from grafana.tables import Numbers
from rules import expected_rules
from rules.writing import SITE

WIDTH = 24
_KINDS: dict[str, type[Panel]] = {"stat": Stat, "series": Series, "bars": Bars, "states": States, "table": Table}
_NUMBERS: dict[str, type[Any]] = {"alert": Rule, "benchmark": Target, "burn": Burn, "response_time": Answer}
_WINDOW = re.compile(r"\$__(?:rate_interval|interval|range|auto_interval)")
_VARIABLE = re.compile(r"\$\w+|\$\{[^}]*\}")


def fitted(boards: Iterable[Board], fits: Callable[[Panel], str], alerts: frozenset[str]) -> Iterator[Board]:
    """Give the boards with the panels that fit; ``fits`` gives the reason why one does not."""
    kept = [(board, tuple(_sections(board, fits))) for board in boards]
    uids = {board.uid for board, sections in kept if sections}
    for board, sections in kept:
        if sections:
            yield replace(board, sections=tuple(_linked(section, uids, alerts) for section in sections))


def expecting(boards: Iterable[Board], table: expected_rules.Table) -> Iterator[Board]:
    """Let the panels about expected jobs and metrics ask for those of a site."""
    asked = {targets.JOBS.id: targets.jobs(table), targets.METRICS_THAT_ALERTS_NEED.id: targets.metrics(table)}

    def asking(line: Line) -> Line:
        return replace(line, panels=tuple(replace(p, queries=asked.get(p.id, p.queries)) for p in line.panels))

    for board in boards:
        if board.uid != monitoring.BOARD.uid:
            yield board
            continue
        sections = (replace(one, lines=tuple(map(asking, one.lines))) for one in board.sections)
        yield replace(board, sections=tuple(sections))


def _sections(board: Board, fits: Callable[[Panel], str]) -> Iterator[Section]:
    for section in board.sections:
        lines = [replace(line, panels=_wide([one for one in line.panels if not fits(one)])) for line in section.lines]
        if any(line.panels for line in lines):
            yield replace(section, lines=tuple(line for line in lines if line.panels))


def _wide(panels: list[Panel]) -> tuple[Panel, ...]:
    """Let panels share the width of a line as they shared it before."""
    every = sum(panel.width for panel in panels)
    widths = [panel.width * WIDTH // every for panel in panels]
    if widths:
        widths[-1] += WIDTH - sum(widths)
    return tuple(replace(panel, width=width) for panel, width in zip(panels, widths, strict=True))


def _linked(section: Section, uids: set[str], alerts: frozenset[str]) -> Section:
    def linked(panel: Panel) -> Panel:
        leads_to = tuple((text, uid) for text, uid in panel.leads_to if uid in uids)
        return replace(panel, leads_to=leads_to, explains=tuple(one for one in panel.explains if one in alerts))

    lines = (replace(line, panels=tuple(map(linked, line.panels))) for line in section.lines)
    return replace(section, lines=tuple(lines))


def unfit(
    panel: Panel, numbers: Numbers, jobs: frozenset[str], series: frozenset[str], adapt: Callable[[str], str]
) -> str:
    """Say why a panel has nothing to show at a site; empty if it has."""
    for query in panel.queries:
        readable = _VARIABLE.sub(".+", _WINDOW.sub("1m", adapt(query.expr)))
        if why := missing(promql_parser.parse(readable), jobs, series):
            return why
    try:
        draw(panel, Place(0, 0, 8), numbers)
    except ValueError as error:
        return str(error)
    return ""


def read(path: Path) -> Board:
    """Read a board from YAML, as docs/site.md describes it; ValueError names the file and its fault."""
    try:
        written = yaml.safe_load(path.read_text("utf-8"))
        sections = tuple(_section(one) for one in written.pop("sections"))
        uid, title = f"{SITE.prefix}-{written.pop('name')}", f"{SITE.name}: {written.pop('title')}"
        variables = tuple(written.pop("variables", ()))
        rest = {"span": "now-6h", "refresh": "30s", **written}
        return Board(uid=uid, title=title, variables=variables, sections=sections, **rest)
    except (msgspec.ValidationError, yaml.YAMLError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error


def _section(written: Mapping[str, Any]) -> Section:
    lines = tuple(Line(int(line["height"]), tuple(map(_panel, line["panels"]))) for line in written["lines"])
    return Section(int(written["id"]), str(written["title"]), lines, folded=bool(written.get("folded", False)))


def _panel(written: Mapping[str, Any]) -> Panel:
    kind = _KINDS[written["kind"]]
    known = {field.name for field in fields(kind)}
    unknown = set(written) - known - {"kind"}
    if unknown:
        raise TypeError(f"panel {written.get('title')!r}: unknown key {min(unknown)!r}")
    made = {key: value for key, value in written.items() if key != "kind"}
    made["queries"] = tuple(msgspec.convert(one, Query) for one in written["queries"])
    made["limits"] = tuple(map(_number, written.get("limits", ())))
    made["words"] = tuple(msgspec.convert(one, Word) for one in written.get("words", ()))
    made["explains"] = tuple(written.get("explains", ()))
    made["leads_to"] = tuple((text, f"{SITE.prefix}-{name}") for text, name in written.get("leads_to", {}).items())
    if kind is Table:
        made["columns"] = tuple(map(_column, written["columns"]))
    return kind(**made)


def _column(written: Mapping[str, Any]) -> Column:
    limits = tuple(map(_number, written.get("limits", ())))
    words = tuple(msgspec.convert(one, Word) for one in written.get("words", ()))
    return Column(**{**written, "limits": limits, "words": words})


def _number(written: Mapping[str, Any]) -> Number:
    """Read one of `{alert: NAME}`, `{benchmark: KEY}`, `{burn: NAME}`, `{response_time: P1}`, or a `Limit`."""
    ((key, value), *_) = written.items()
    if key == "benchmarks":
        return Count()
    number: Number = _NUMBERS[key](value) if key in _NUMBERS else msgspec.convert(written, Limit)
    return number
