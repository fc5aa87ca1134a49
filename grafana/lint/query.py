"""PromQL as dashboards write it -> expressions as Prometheus reads them, with something in the place of variables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from promql_parser import Expr, parse, parse_duration

from grafana.lint.board import Board, Panel, Variable

# Grafana's own variables of time, each as a length that nobody writes by hand, so that the checks know it again.
WINDOWS = {"__rate_interval": "61s", "__interval": "17s", "__range": "3607s", "__auto_interval": "17s"}
RATE_WINDOW = parse_duration(WINDOWS["__rate_interval"])
SHOWN_WINDOWS = {RATE_WINDOW, parse_duration(WINDOWS["__range"]), parse_duration(WINDOWS["__interval"])}
_NUMBERS = {"__interval_ms": "17000", "__range_s": "3607", "__range_ms": "3607000", "__from": "0", "__to": "0"}
BUILT_IN = {*WINDOWS, *_NUMBERS, "__all", "__value", "__field", "__data", "__series", "__url_time_range", "__name"}
VARIABLE = re.compile(r"\$(?P<plain>\w+)|\$\{(?P<braced>\w+)(?:[:.][^}]*)?\}|\[\[(?P<old>\w+)(?::\w+)?\]\]")
_LABEL_VALUES = re.compile(r"label_values\((?:(?P<selector>.+),)?\s*(?P<label>\w+)\s*\)\s*\Z", re.DOTALL)
_QUERY_RESULT = re.compile(r"query_result\((?P<query>.+)\)\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Query:
    """One expression with its place: of a panel, of an annotation or of a variable."""

    place: str
    text: str
    panel: Panel | None = None
    legend: str = ""
    tree: Expr | None = None
    error: str = ""
    labels_only: bool = False  # its values are not looked at

    def __str__(self) -> str:
        """Name it as a reader finds it."""
        return self.place


def names(text: str) -> set[str]:
    """Give the variables that a text uses."""
    references = {match["plain"] or match["braced"] or match["old"] for match in VARIABLE.finditer(text)}
    return {name for name in references if not name.isdigit()}  # label_replace has groups of that form


def selector_of(variable: Variable) -> tuple[str, str] | None:
    """Give the selector and the label of a `label_values` variable, or the query of `query_result` and no label."""
    if label_values := _LABEL_VALUES.match(variable.text()):
        return (label_values["selector"] or "").strip(), label_values["label"]
    if query_result := _QUERY_RESULT.match(variable.text()):
        return query_result["query"].strip(), ""
    return None


def readable(text: str, board: Board) -> str:
    """Put something in the place of every variable that Prometheus can parse.

    A matcher that takes all values, the missing one too, when its variable does ("All" is `.*`) is left out: it asks
    for a label, as `env` is, that only some installations have.
    """
    optional = {v.name for v in board.templating.every if v.all_value == ".*"}
    for name in optional:
        text = re.sub(rf'\w+\s*=~\s*"\$(?:{name}\b|\{{{name}[^}}]*\}})"\s*,?\s*', "", text)
    return VARIABLE.sub(lambda match: _stand_in(match, board), text)


def _stand_in(match: re.Match[str], board: Board) -> str:
    name = match["plain"] or match["braced"] or match["old"]
    if name.isdigit():
        return match[0]
    if name in WINDOWS or name in _NUMBERS:
        return WINDOWS.get(name) or _NUMBERS[name]
    variable = next((one for one in board.templating.every if one.name == name), None)
    if variable is None or variable.multi or variable.include_all:
        return ".+"
    return str(variable.current.get("value") or "x")


def queries(board: Board) -> Iterator[Query]:
    """Give all of them, parsed; what cannot be parsed has no tree and says why."""
    for panel in board.asking():
        for target in panel.targets:
            place = f"{panel} query {target.ref}"
            yield _parsed(Query(place, target.expr, panel, target.legend), target.expr, board)
    for annotation in board.annotations.every:
        if not annotation.built_in:
            yield _parsed(Query(str(annotation), annotation.text()), annotation.text(), board)
    for variable in board.templating.every:
        if variable.type == "query":
            yield from _of_variable(variable, board)


def _of_variable(variable: Variable, board: Board) -> Iterator[Query]:
    asked = selector_of(variable)
    if asked is None:
        error = "only label_values(selector, label) and query_result(query) are understood"
        yield Query(str(variable), variable.text(), error=error)
    elif asked[0]:
        yield _parsed(Query(str(variable), variable.text(), labels_only=bool(asked[1])), asked[0], board)


def _parsed(query: Query, expression: str, board: Board) -> Query:
    try:
        tree = parse(readable(expression, board))
    except ValueError as error:
        return replace(query, error=str(error))
    return replace(query, tree=tree)
