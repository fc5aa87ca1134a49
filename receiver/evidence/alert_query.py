"""Says what is drawn for an incident: the expression of its alert without the threshold, and the time shown. Pure."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

import msgspec

from receiver.clients.promql import Comparison, ExpressionError, compared
from receiver.incident.model import UNKNOWN_START, Alert, Incident

SERIES = 5  # that are drawn
POINTS = 240  # of a series
LEAST_STEP = 15.0  # seconds
_LONGEST_URL = 8192  # characters; Prometheus' own are far shorter
_FIELDS = 50
_OPERATORS = 100  # of an expression: promql_parser takes 8 ms for so many, and four times as long for twice as many
_OPERATOR = re.compile(r"[-+*/%^<>]|[=!]=|\b(?:and|or|unless|atan2)\b")
_BEFORE, _AFTER = timedelta(hours=1), timedelta(minutes=15)  # what is shown around an incident that is over
_LONGEST = timedelta(days=7)


class Absent(StrEnum):
    """Why there is no picture; a label of a metric."""

    NO_PROMETHEUS = "no_prometheus"  # the incident's source has no `prometheus_url`
    NO_EXPRESSION = "no_expression"  # the alert's generatorURL does not carry one
    NO_THRESHOLD = "no_threshold"  # the expression compares nothing, as absent(up)
    BAD_EXPRESSION = "bad_expression"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"  # by Prometheus
    NO_DATA = "no_data"
    BUSY = "busy"  # too many pictures are being drawn
    NOT_INSTALLED = "not_installed"  # the extra `charts`
    FAILED = "failed"  # our own mistake

    @property
    def passing(self) -> bool:
        """Say whether it may be there in a moment."""
        return self in {Absent.UNREACHABLE, Absent.TIMED_OUT, Absent.BUSY, Absent.FAILED}


class AbsentError(Exception):
    """There is no picture."""

    def __init__(self, reason: Absent) -> None:
        super().__init__(reason.value)
        self.reason = reason


class AlertQuery(msgspec.Struct, frozen=True):
    """What is asked of Prometheus for an alert: ``query`` gives the series that matter most of ``compared.left``."""

    query: str
    compared: Comparison


class Span(msgspec.Struct, frozen=True):
    """The time shown, and seconds from one point to the next."""

    start: datetime
    end: datetime
    step: float


def alert_query(incident: Incident) -> AlertQuery:
    """Give what is asked for the alert that it is called after, else for another one; AbsentError says why not."""
    written = next(filter(None, map(_expression, incident.shown)), "")
    if not written:
        raise AbsentError(Absent.NO_EXPRESSION)
    found = _compared(written)
    if isinstance(found, Absent):
        raise AbsentError(found)
    return AlertQuery(f"{'topk' if _is_high(found) else 'bottomk'}({SERIES}, {found.left})", found)


@lru_cache(256)
def _compared(written: str) -> Comparison | Absent:
    """Split the threshold off; one that was split before is remembered, as every message of an incident asks."""
    if len(_OPERATOR.findall(written)) > _OPERATORS:
        return Absent.BAD_EXPRESSION
    try:
        return compared(written) or Absent.NO_THRESHOLD
    except ExpressionError:
        return Absent.BAD_EXPRESSION


def is_drawable(incident: Incident) -> bool:
    """Say whether there may be a chart, as far as its alerts tell."""
    try:
        alert_query(incident)
    except AbsentError:
        return False
    return True


def span(incident: Incident, now: datetime, length: timedelta) -> Span:
    """Give the last hours, and all of an incident that has been open for longer, at most a week of it."""
    end = min(now, incident.resolved_at + _AFTER) if incident.resolved_at else now
    opened = incident.opened_at or end
    began = min((alert.starts_at for alert in incident.firing if alert.starts_at > UNKNOWN_START), default=opened)
    first = max(min(began, opened), opened - length)  # an alert may have fired for weeks before we heard of it
    start = max(min(end - length, first - _BEFORE), end - _LONGEST)
    return Span(start, end, max(LEAST_STEP, (end - start).total_seconds() / POINTS))


def _is_high(found: Comparison) -> bool:
    """Say whether what fires is the highest: `up == 0` fires at the lowest."""
    if found.operator in {"==", "!="}:
        return bool(found.limit)
    return found.above


def _expression(alert: Alert) -> str:
    """Read `g0.expr` of the link to Prometheus' graph; "" if it has none. The link's host is not asked."""
    if len(alert.generator_url) > _LONGEST_URL:
        return ""
    try:
        fields = parse_qs(urlsplit(alert.generator_url).query, max_num_fields=_FIELDS)
    except ValueError:
        return ""
    return fields.get("g0.expr", [""])[0]
