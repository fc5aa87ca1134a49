"""Turns a review into what stands in the report: what to do, and a section for each of its parts. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from receiver.messages.i18n import duration
from receiver.reports.review.model import Curve, Fired, Review, Tuned
from receiver.reports.review.period import QUESTIONS, Part
from receiver.reports.review.threshold import show
from receiver.reports.review.wording import advised, change, goal, many, measured, place, spark, times, tried

Row = tuple[str, ...]
_SHOWN = 8  # plots of thresholds; those that fire or are to be changed come first


class Plot(msgspec.Struct, frozen=True):
    """A line over time with the threshold or the target that it is judged by."""

    title: str
    caption: str
    curve: Curve
    limit: float | None
    limit_name: str


class Bars(msgspec.Struct, frozen=True):
    """Bars from the left, a name at each."""

    title: str
    caption: str
    names: Row
    values: tuple[float, ...]


class Section(msgspec.Struct, frozen=True):
    """A heading, a sentence, a table and plots; ``folded`` is for those who look closer."""

    title: str
    lead: str
    head: Row = ()
    rows: tuple[Row, ...] = ()
    plots: tuple[Plot, ...] = ()
    bars: tuple[Bars, ...] = ()
    items: Row = ()
    folded: bool = False


class Content(msgspec.Struct, frozen=True):
    """The whole report."""

    title: str
    when: str
    figures: tuple[tuple[str, str, bool], ...]  # number, name, whether it is bad
    to_do: Row
    sections: tuple[Section, ...]


def content(review: Review) -> Content:
    """Write all of it."""
    when = f"{review.start:%Y-%m-%d %H:%M} to {review.end:%Y-%m-%d %H:%M} UTC"
    if (review.since - review.start).total_seconds() > 86_400:  # noqa: PLR2004  # a day late
        when += f"; Prometheus has data since {review.since:%Y-%m-%d}"
    return Content(review.period.title, when, tuple(_figures(review)), tuple(_to_do(review)), tuple(_sections(review)))


def _figures(review: Review) -> Iterator[tuple[str, str, bool]]:
    firings = sum(len(line.firings) for line in review.fired)
    yield f"{firings:,}", "firings", False
    yield f"{len(review.fired)} of {review.rules}", "alerts fired", False
    urgent = sum(len(line.firings) for line in review.fired if line.rule.priority == "P1")
    yield f"{urgent:,}", "of priority P1", urgent > 0
    if review.has(Part.DASHBOARDS):
        yield f"{len(review.dead)}", "dead panel" if len(review.dead) == 1 else "dead panels", bool(review.dead)
    if review.has(Part.THRESHOLDS):
        turned = sum(line.advice is not None and line.advice.verb == "loosen" for line in review.tuned)
        yield f"{turned}", "thresholds to loosen", turned > 0
    if review.has(Part.BASELINES):
        worse = sum(line.worse for line in review.baselines)
        yield f"{worse} of {len(review.baselines)}", "benchmarks worse", worse > 0


def _to_do(review: Review) -> Iterator[str]:
    for trouble in review.troubles:
        yield f"{trouble.what}: could not be checked ({trouble.why})"
    for one in review.unanswered or ():
        yield f"{one.alert} ({one.priority}): nobody acknowledged {one.unanswered} of {many(one.incidents, 'incident')}"
    if review.dead:
        boards = sorted({panel.dashboard for panel in review.dead})
        yield f"Fix {many(len(review.dead), 'dead panel')} on {', '.join(boards)}"
    for line in review.tuned:
        if line.advice and line.advice.verb == "loosen":
            yield f"{line.rule.name}: {advised(line.advice)}; in {place(line.rule)}"
    yield from (
        f"{_named(moved.key)} {change(moved)} than a quarter ago: find out why, or move its target"
        for moved in review.baselines
        if moved.worse
    )
    if review.notes:
        yield f"Check {many(len(review.notes), 'note')} about contacts and schedules"


def _sections(review: Review) -> Iterator[Section]:
    yield _firings(review)
    if review.has(Part.UNANSWERED):
        yield _unanswered(review)
    if review.has(Part.THRESHOLDS):
        yield from _thresholds(review)
    if review.has(Part.NEVER):
        yield _never(review)
    if review.has(Part.BASELINES):
        yield _baselines(review)
    if review.has(Part.DASHBOARDS):
        rows = tuple((one.dashboard, one.panel, one.why, one.query) for one in review.dead)
        lead = f"{many(review.panels, 'query', 'queries')} of the dashboards, run over the whole period."
        yield Section("Dead panels", lead, ("Dashboard", "Panel", "Why", "Query"), rows)
    yield _contacts(review)
    if review.has(Part.QUESTIONS):
        lead = "The data cannot answer these. Discuss them in the meeting and write the answers down."
        yield Section("Strategy questions", lead, items=QUESTIONS)


def _firings(review: Review) -> Section:
    lead = "Each series counts separately; the total is the time in which at least one fired."
    head = ("Alert", "Fired", "Total", "Longest", "Priority", "Team", "Series", "Last start (UTC)")
    rows = tuple(
        (
            *(line.rule.name, times(len(line.firings)), duration(line.seconds), duration(line.longest)),
            *(line.rule.priority or "-", line.rule.team or "-", str(line.series), _last(line)),
        )
        for line in review.fired
    )
    busiest = sorted(review.fired, key=lambda line: -len(line.firings))[:12]
    bars = (
        Bars(
            "Firings by alert",
            f"the {len(busiest)} that fired most" if len(review.fired) > len(busiest) else "",
            tuple(line.rule.name for line in busiest),
            tuple(float(len(line.firings)) for line in busiest),
        ),
    )
    return Section("Firing alerts", lead, head, rows, bars=bars if rows else ())


def _last(line: Fired) -> str:
    if not line.firings:
        return "-"
    return f"{datetime.fromtimestamp(line.firings[-1].start, UTC):%Y-%m-%d %H:%M}"


def _unanswered(review: Review) -> Section:
    title = "Unacknowledged alerts"
    if review.unanswered is None:
        return Section(title, _unlooked(review))
    head = ("Alert", "Priority", "Incidents", "Not acknowledged", "Longest open")
    rows = tuple(
        (one.alert, one.priority, str(one.incidents), str(one.unanswered), duration(one.longest))
        for one in review.unanswered
    )
    return Section(title, f"The receiver opened {many(review.incidents, 'incident')}.", head, rows)


def _unlooked(review: Review) -> str:
    if review.notes is None:
        return "Not checked: pass the receiver's configuration with --config.file."
    return "Could not be checked; the reason is listed under What to do."


def _thresholds(review: Review) -> Iterator[Section]:
    ordered = sorted(review.tuned, key=_interest)
    lead = (
        "How often each threshold would have fired in this period, `for` and the rule's other conditions honoured; the "
        f"present one in brackets. Evaluated every {duration(review.period.step)}. A threshold of a quantile must be a "
        "bucket boundary (exporter/catalogue/*.yml)."
    )
    changed = [line for line in ordered if line.fired or (line.advice and line.advice.verb == "loosen")]
    head = ("Alert", "Fires at", "Fired", "Threshold → firings", "Suggestion", "Change it in")
    rows = tuple(
        (
            line.rule.name,
            _fires(line),
            times(line.fired),
            tried(line.candidates),
            advised(line.advice),
            place(line.rule),
        )
        for line in changed
    )
    plots = tuple(_plot(line) for line in changed[:_SHOWN] if line.near)
    yield Section("Thresholds of the alerts that fired", lead, head, rows, plots)
    lead = "Quantiles of what each alert compares, over all its series; the closest is the value nearest to firing."
    head_of_all = ("Alert", "Fires at", "p1", "p5", "Median", "p95", "p99", "Closest", "Over time", "Suggestion")
    quantiles = tuple((line.rule.name, _fires(line), *_near(line), advised(line.advice)) for line in ordered)
    yield Section("How close each series came to its threshold", lead, head_of_all, quantiles, folded=True)


def _interest(line: Tuned) -> tuple[int, int, str]:
    verbs = {"loosen": 0, "keep": 2, "tighten": 3}
    rank = verbs.get(line.advice.verb, 4) if line.advice else 4
    return (rank if not line.fired or rank == 0 else 1, -line.fired, line.rule.name)


def _fires(line: Tuned) -> str:
    limit = "-" if line.compared.limit is None else show(line.compared.limit)
    wait = f" for {duration(line.rule.wait)}" if line.rule.wait else ""
    more = " (of several)" if line.compared.arms > 1 else ""
    return f"{line.compared.operator} {limit}{wait}{more}"


def _near(line: Tuned) -> Row:
    if line.near is None:
        return (*("-",) * 5, "no data", "")
    drawn = spark([value for _, value in line.curve])
    return (*(show(value) for value in line.near.quantiles), show(line.near.closest), drawn)


def _plot(line: Tuned) -> Plot:
    caption = f"{'highest' if line.compared.above else 'lowest'} of all series; fires {_fires(line)}"
    return Plot(line.rule.name, caption, line.curve, line.compared.limit, "threshold")


def _never(review: Review) -> Section:
    lead = "Not a fault in itself. Check that each can still fire, and rehearse the P1 alerts."
    ordered = sorted(review.never, key=lambda rule: (rule.priority or "P9", rule.name))
    groups: dict[str, list[str]] = {}
    for rule in ordered:
        groups.setdefault(rule.priority or "-", []).append(rule.name)
    rows = tuple((priority, str(len(names)), ", ".join(names)) for priority, names in groups.items())
    return Section("Alerts that never fired", lead, ("Priority", "How many", "Which"), rows)


def _baselines(review: Review) -> Section:
    lead = (
        "Medians of the last four weeks against those of four weeks a quarter (13 weeks) earlier, and the share of the "
        "time in which the target was met. Targets stand in rules/tables/benchmarks.yml."
    )
    head = ("Benchmark", "Target", "Now", "A quarter ago", "Change", "Met now", "Met then", "Over time")
    rows = tuple(
        (
            *(_named(line.key), goal(line), measured(line.now, line.unit)),
            measured(line.then, line.unit) + (f" (noted {line.remembered})" if line.remembered else ""),
            *(change(line), _share(line.met_now), _share(line.met_then), spark([value for _, value in line.curve])),
        )
        for line in review.baselines
    )
    plots = tuple(
        Plot(
            _named(line.key), f"a day's median, in {line.unit}; good is {goal(line)}", line.curve, line.target, "target"
        )
        for line in review.baselines
        if any(value is not None for _, value in line.curve)
    )
    return Section("Baselines against last quarter", lead, head, rows, plots)


def _contacts(review: Review) -> Section:
    title = "Contacts and schedules"
    if review.notes is None:
        return Section(title, _unlooked(review))
    lead = f"receiver.yml, looked at for the {many(review.period.ahead.days, 'day')} ahead."
    return Section(title, lead, ("About", "What", "To do"), tuple((n.about, n.what, n.to_do) for n in review.notes))


def _named(key: str) -> str:
    words = key.replace("_", " ")
    return {"cpu": "CPU", "api response": "API response", "disk io": "Disk I/O"}.get(words, words.capitalize())


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
