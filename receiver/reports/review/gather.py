"""Asks Prometheus everything that a review wants to know; what cannot be answered becomes a trouble in the report."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from receiver.clients.http_api import ApiError
from receiver.clients.prometheus import AlertingRule, Labels, Prometheus, Series
from receiver.clients.promql import Comparison, ExpressionError, compared, is_constant, selected_label
from receiver.reports.review.dashboard import Panel
from receiver.reports.review.firing import Sample, episodes, together
from receiver.reports.review.model import Baseline, DeadPanel, Fired, Rule, Trouble, Tuned
from receiver.reports.review.period import BASELINE, QUARTER, Period
from receiver.reports.review.threshold import advise, candidates, closeness

R = TypeVar("R")
Step = Callable[[str], None]  # told what is asked now; one call for each question
AT_ONCE = 3  # questions that Prometheus gets at a time: it has alerts to evaluate meanwhile
_POINTS = 300  # of a query of a panel
_PLOTTED = 160  # points of a line: one for each few pixels
_DAY = 86_400


class Empty(Exception):  # noqa: N818  # it is no error of anybody
    """There is no data in the period."""


class Gatherer:
    """One period of one Prometheus; ``troubles`` grows with what could not be asked.

    ``prefix`` is that of the recorded series of benchmarks.
    """

    def __init__(
        self, prometheus: Prometheus, period: Period, end: datetime, step: Step, prefix: str = "heypeter"
    ) -> None:
        self._benchmark = f"{prefix}:benchmark"
        self._prometheus, self._period, self._told = prometheus, period, step
        self._end = float(int(end.timestamp()))
        self._start = self._end - period.length.total_seconds()
        self.troubles: list[Trouble] = []
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def rules(self) -> list[Rule]:
        """Give the alerting rules; ApiError if Prometheus does not tell them."""
        return [_rule(rule) for rule in await self._prometheus.alerting_rules()]

    async def since(self) -> datetime:
        """Give the moment of the first data in the period; Empty if there is none."""
        step = max(60, int((self._end - self._start) // 1000))
        names = ("up", "ALERTS", f"{self._benchmark}:value")
        query = " or ".join(f"count(count_over_time({name}[{step}s]))" for name in names)
        samples_of_series = await self._prometheus.range(query, self._start, self._end, step)
        times = [samples[0][0] for samples in samples_of_series.values() if samples]
        if not times:
            raise Empty
        return datetime.fromtimestamp(min(times), UTC)

    async def fired(self, rules: Sequence[Rule]) -> tuple[tuple[Fired, ...], tuple[Rule, ...]]:
        """Give what fired, that which fired longest first, and the rules that never did."""
        self._told("firing alerts")
        try:
            samples_of_series = await self._prometheus.stored_samples(
                'ALERTS{alertstate="firing",severity!="none"}', self._start, self._end
            )
        except ApiError as error:
            self.troubles.append(Trouble("How often alerts fired", str(error)))
            return (), ()
        by_name = {rule.name: rule for rule in rules}
        groups: dict[str, list[list[float]]] = {}
        teams: dict[str, set[str]] = {}
        for labels, samples in samples_of_series.items():
            labels_of_alert = dict(labels)
            groups.setdefault(labels_of_alert.get("alertname", ""), []).append([at for at, _ in samples])
            teams.setdefault(labels_of_alert.get("alertname", ""), set()).update(
                {labels_of_alert["team"]} if "team" in labels_of_alert else ()
            )
        lines = []
        for name, series in groups.items():
            rule = by_name.get(name)
            if rule is None:
                self.troubles.append(Trouble(f"{name} fired", "Prometheus has no rule of that name any more"))
                continue
            each = [one for times in series for one in episodes(times, rule.interval, rule.wait)]
            rule = msgspec.structs.replace(rule, team=", ".join(sorted(teams[name])) or rule.team)
            lines.append(Fired(rule, tuple(sorted(each, key=lambda f: f.start)), len(series), together(each)))
        lines.sort(key=lambda line: (line.rule.priority or "P9", -line.seconds, line.rule.name))
        quiet = tuple(rule for rule in rules if rule.name not in groups and not is_constant(rule.expression))
        return tuple(lines), quiet

    async def tuned(self, rules: Sequence[Rule], fired: Sequence[Fired]) -> tuple[Tuned, ...]:
        """Look at the series behind every alert that has a threshold."""
        counts = {line.rule.name: len(line.firings) for line in fired}
        pairs = [(rule, self._compared(rule)) for rule in rules]
        work = (self._tune(rule, c, counts.get(rule.name, 0)) for rule, c in pairs if c is not None and c.tunable)
        return tuple(tuned for tuned in await asyncio.gather(*work) if tuned)

    def _compared(self, rule: Rule) -> Comparison | None:
        try:
            return compared(rule.expression)
        except ExpressionError as error:
            self.troubles.append(Trouble(f"Threshold of {rule.name}", f"its expression cannot be read: {error}"))
            return None

    async def _tune(self, rule: Rule, compared: Comparison, fired: int) -> Tuned | None:
        async def ask() -> Tuned:
            step = self._period.step
            series = await self._prometheus.range(compared.left, self._start, self._end, step)
            guarded = series
            if compared.guarded != compared.left:
                guarded = await self._prometheus.range(compared.guarded, self._start, self._end, step)
            near = closeness(compared, list(series.values()))
            named = {str(labels): samples for labels, samples in guarded.items()}
            tried = candidates(compared, named, step, rule.wait, rule.keep)
            advice = advise(compared, near, tried, self._end - self._start)
            curve = thinned(list(series.values()), self._start, self._end, above=compared.above)
            return Tuned(rule, compared, near, tried, advice, curve, fired)

        return await self._try(f"Threshold of {rule.name}", ask())

    async def baselines(self, rules: Sequence[Rule]) -> tuple[Baseline, ...]:
        """Compare each benchmark with what it was a quarter ago."""
        baselines = await self._try("Baselines of the benchmarks", self._baselines(rules))
        return baselines or ()

    async def _baselines(self, rules: Sequence[Rule]) -> tuple[Baseline, ...]:
        days = BASELINE.days
        ago = self._end - QUARTER.total_seconds()
        median = f"quantile_over_time(0.5, {self._benchmark}:value[{days}d])"
        met = f"avg_over_time({self._benchmark}:met[{days}d])"
        ask = self._prometheus
        now, then = await ask.instant(median, self._end), await ask.instant(median, ago)
        met_now, met_then = await ask.instant(met, self._end), await ask.instant(met, ago)
        target = await ask.instant(f"last_over_time({self._benchmark}:target[{days}d])", self._end)
        begin = ago - BASELINE.total_seconds()
        daily = f"quantile_over_time(0.5, {self._benchmark}:value[1d])"
        curves = await ask.range(daily, begin, self._end, _DAY)
        above = _directions(rules, f"{self._benchmark}:value")
        return tuple(
            Baseline(
                key=key,
                unit=unit,
                target=_of(target, key),
                above=above.get(key, False),
                now=_of(now, key),
                then=_of(then, key),
                met_now=_of(met_now, key),
                met_then=_of(met_then, key),
                curve=_curve(curves, key, begin, self._end),
            )
            for key, unit in sorted(_benchmarks(now, target).items())
        )

    async def panels(self, panels: Sequence[Panel]) -> tuple[DeadPanel, ...]:
        """Execute the queries of dashboards; give those that fail or say nothing at any time of the period."""
        dead = await asyncio.gather(*(self._panel(panel) for panel in panels))
        return tuple(one for one in dead if one)

    async def _panel(self, panel: Panel) -> DeadPanel | None:
        async with self._slots:
            self._told(f"panel {panel.title}")
            step = max(60, int((self._end - self._start) // _POINTS))
            try:
                samples_of_series = await self._prometheus.range(panel.query, self._start, self._end, step)
            except ApiError as error:
                return DeadPanel(panel.dashboard, panel.title, panel.query, str(error))
        alive = any(math.isfinite(value) for samples in samples_of_series.values() for _, value in samples)
        why = "no data in the whole period"
        return None if alive else DeadPanel(panel.dashboard, panel.title, panel.query, why)

    async def _try(self, what: str, work: Awaitable[R]) -> R | None:
        async with self._slots:
            self._told(what)
            try:
                return await work
            except ApiError as error:
                self.troubles.append(Trouble(what, str(error)))
                return None


def _rule(rule: AlertingRule) -> Rule:
    return Rule(
        rule.name,
        rule.query,
        rule.duration,
        rule.keep_firing_for,
        rule.interval,
        rule.labels.get("priority", ""),
        rule.labels.get("team", ""),
        rule.file,
    )


def _directions(rules: Sequence[Rule], value: str) -> dict[str, bool]:
    """Say of which benchmarks more is better: their alerts fire below."""
    above = {}
    for rule in rules:
        try:
            comparison = compared(rule.expression)
            key = comparison and selected_label(comparison.left, value, "benchmark")
        except ExpressionError:
            continue
        if comparison and key:
            above[key] = not comparison.above
    return above


def _benchmarks(*answers: dict[Labels, float]) -> dict[str, str]:
    labels = [dict(one) for answer in answers for one in answer]
    return {one["benchmark"]: one.get("unit", "") for one in labels if "benchmark" in one}


def _of(answer: dict[Labels, float], key: str) -> float | None:
    values = [value for labels, value in answer.items() if dict(labels).get("benchmark") == key]
    return values[0] if values and math.isfinite(values[0]) else None


def _curve(curves: Series, key: str, start: float, end: float) -> tuple[tuple[float, float | None], ...]:
    chosen = [samples for labels, samples in curves.items() if dict(labels).get("benchmark") == key]
    known = {round(at): value for samples in chosen for at, value in samples if math.isfinite(value)}
    return tuple((at, known.get(round(at))) for at in range(int(start), int(end) + 1, _DAY))


def thinned(
    series: Sequence[Sequence[Sample]], start: float, end: float, *, above: bool, points: int = _PLOTTED
) -> tuple[tuple[float, float | None], ...]:
    """Give the value nearest to firing within each part of the time, of all series; None where there is none."""
    worst: list[float | None] = [None] * points
    width = (end - start) / points
    for samples in series:
        for at, value in samples:
            n = min(points - 1, int((at - start) / width))
            known = worst[n]
            if math.isfinite(value) and (known is None or (value > known) == above):
                worst[n] = value
    return tuple((start + n * width, value) for n, value in enumerate(worst))
