"""Queries Prometheus' HTTP API for alerting rules, values and series; long ranges are asked for in pieces.

prometheus.io/docs/prometheus/latest/querying/api. A range query may have 11,000 points a series.
"""

import math
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import aiohttp
import msgspec

from receiver.clients.http_api import ApiError, Failure, call

MAX_POINTS = 10_000  # of a series in one answer
_RAW_PIECE = 86_400.0  # seconds of raw samples in one answer
_LONGEST_REASON = 300  # characters of Prometheus' own error text
T = TypeVar("T")
_When = Annotated[datetime, msgspec.Meta(tz=True)]
Endpoint = Literal["query", "query_range", "rules", "status/runtimeinfo"]
Sample = tuple[float, float]  # Unix seconds, value
Labels = tuple[tuple[str, str], ...]  # sorted by name
Series = dict[Labels, list[Sample]]


class AlertingRule(msgspec.Struct, frozen=True):
    """One alerting rule as Prometheus evaluates it; times in seconds."""

    name: str
    query: str
    duration: float  # `for`
    keep_firing_for: float
    labels: dict[str, str]
    interval: float
    file: str


class RuleState(msgspec.Struct, frozen=True):
    """How Prometheus last evaluated one alerting rule; ``active`` holds the labels of what fires or is pending."""

    healthy: bool
    evaluated_at: datetime
    interval: float  # seconds
    active: tuple[dict[str, str], ...]


class _Point(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    type: str = msgspec.field(name="resultType")
    result: msgspec.Raw


class _Active(msgspec.Struct):
    labels: dict[str, str] = {}  # msgspec copies a mutable default


class _Rule(msgspec.Struct):
    name: str
    query: str = ""
    type: str = ""
    duration: float = 0.0
    keep_firing_for: float = msgspec.field(default=0.0, name="keepFiringFor")
    labels: dict[str, str] = {}  # msgspec copies a mutable default
    health: str = ""
    evaluated_at: _When | None = msgspec.field(default=None, name="lastEvaluation")
    alerts: list[_Active] = []


class _Group(msgspec.Struct):
    file: str
    interval: float
    rules: list[_Rule]


class _Groups(msgspec.Struct):
    groups: list[_Group]


class _Runtime(msgspec.Struct):
    started_at: _When = msgspec.field(name="startTime")


class _Refusal(msgspec.Struct):
    error: str = ""


class _Answer(msgspec.Struct):
    data: msgspec.Raw


class Prometheus:
    """One Prometheus, or what has the same API. Every method raises ApiError.

    ``timeout`` in seconds is for each request; ``headers`` carry the credentials, if there are any; ``trust`` as in
    http_api.Access.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        *,
        trust: ssl.SSLContext | bool = True,
    ) -> None:
        self._session, self._url, self._trust = session, url.rstrip("/"), trust
        self._headers, self._timeout = headers or {}, timeout

    async def alerting_rules(self) -> list[AlertingRule]:
        """Give the alerting rules, in the order of their groups."""
        answer = await self._ask("rules", {"type": "alert"}, _Groups)
        return [
            AlertingRule(
                rule.name, rule.query, rule.duration, rule.keep_firing_for, rule.labels, group.interval, group.file
            )
            for group in answer.groups
            for rule in group.rules
            if rule.type == "alerting"
        ]

    async def rule_states(self, name: str) -> list[RuleState]:
        """Say how the alerting rules of one name were last evaluated; one that never was is not in the list."""
        answer = await self._ask("rules", {"type": "alert", "rule_name[]": name}, _Groups)
        return [  # servers before 2.50 pass over rule_name[]
            RuleState(
                rule.health == "ok",
                rule.evaluated_at.astimezone(UTC),
                group.interval,
                tuple(one.labels for one in rule.alerts),
            )
            for group in answer.groups
            for rule in group.rules
            if rule.type == "alerting" and rule.name == name and rule.evaluated_at and rule.evaluated_at.year > 1
        ]

    async def started_at(self) -> datetime:
        """Say when this Prometheus was started."""
        return (await self._ask("status/runtimeinfo", {}, _Runtime)).started_at.astimezone(UTC)

    async def range(
        self, query: str, start: float, end: float, step: float, *, patience: float | None = None
    ) -> Series:
        """Give the series of a range query; times in Unix seconds, ``step`` in seconds to the millisecond.

        Prometheus stops working on it after ``patience`` seconds; without, after what its own flag says.
        """
        limited = {} if patience is None else {"timeout": f"{patience:.3f}"}
        series: Series = {}
        for begin, finish in pieces(start, end, step, MAX_POINTS):
            parameters = {
                "query": query,
                "start": f"{begin:.3f}",
                "end": f"{finish:.3f}",
                "step": f"{step:.3f}",
            } | limited
            for labels, samples in await self._query("query_range", parameters):
                series.setdefault(labels, []).extend(samples)
        return series

    async def stored_samples(self, selector: str, start: float, end: float) -> Series:
        """Give the samples of a selector as they were scraped: after ``start``, up to ``end``."""
        series: Series = {}
        begin = start
        while begin < end:
            finish = min(begin + _RAW_PIECE, end)
            length = math.ceil(finish - begin)
            parameters = {"query": f"{selector}[{length}s]", "time": f"{finish:.3f}"}
            for labels, samples in await self._query("query", parameters):
                kept = series.setdefault(labels, [])
                kept.extend(pair for pair in samples if pair[0] > begin and (not kept or pair[0] > kept[-1][0]))
            begin = finish
        return series

    async def instant(self, query: str, time: float) -> dict[Labels, float]:
        """Give the value of each series at a time; a scalar is one series without labels."""
        results = await self._query("query", {"query": query, "time": f"{time:.3f}"})
        return {labels: samples[-1][1] for labels, samples in results if samples}

    async def _query(self, endpoint: Endpoint, parameters: dict[str, str]) -> list[tuple[Labels, list[Sample]]]:
        data = await self._ask(endpoint, parameters, _Data)
        try:
            if data.type == "scalar":
                time, value = msgspec.json.decode(data.result, type=tuple[float, str])
                return [((), [(time, float(value))])]
            points = msgspec.json.decode(data.result, type=list[_Point])
            return [(tuple(sorted(point.metric.items())), _samples(point)) for point in points]
        except (msgspec.DecodeError, ValueError) as error:
            raise _unreadable(endpoint, error) from error

    async def _ask(self, endpoint: Endpoint, parameters: dict[str, str], kind: type[T]) -> T:
        url = f"{self._url}/api/v1/{endpoint}"
        # A long query does not fit in a URL; `rules` answers GET only.
        method: Literal["GET", "POST"] = "POST" if endpoint in {"query", "query_range"} else "GET"
        status, body = await call(
            self._session,
            method,
            url,
            name="Prometheus",
            seconds=self._timeout,
            headers=self._headers,
            parameters=parameters,
            trust=self._trust,
        )
        if status != 200:  # noqa: PLR2004  # OK
            raise ApiError(Failure.REFUSED, f"Prometheus refused {endpoint}: {_refusal(status, body)}")
        try:
            return msgspec.json.decode(msgspec.json.decode(body, type=_Answer).data, type=kind)
        except (msgspec.DecodeError, ValueError) as error:
            raise _unreadable(endpoint, error) from error


def pieces(start: float, end: float, step: float, points: int) -> Iterator[tuple[float, float]]:
    """Divide a range into pieces of at most so many points, none of which is asked for twice."""
    length = step * (points - 1)
    begin = start
    while begin <= end:
        yield begin, min(begin + length, end)
        begin += length + step


def _samples(point: _Point) -> list[Sample]:
    values = [point.value] if point.value else point.values
    return [(time, float(value)) for time, value in values]


def _refusal(status: int, body: bytes) -> str:
    try:
        text = " ".join(msgspec.json.decode(body, type=_Refusal).error.split())
    except (msgspec.DecodeError, ValueError):
        text = ""
    return text[:_LONGEST_REASON] or f"HTTP status {status}"


def _unreadable(endpoint: str, error: Exception) -> ApiError:
    return ApiError(Failure.UNREADABLE, f"invalid answer to the {endpoint} request, is it Prometheus? ({error})")
