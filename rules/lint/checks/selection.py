"""Checks of selectors: the right job, matchers that say what they mean, and windows that hold samples."""

import re
from collections.abc import Iterator
from datetime import timedelta

from promql_parser import BinaryExpr, MatchOp, MatrixSelector, SubqueryExpr, VectorSelector

from rules import exported
from rules.lint.expression import COMPARISONS, RATES, calls, name_of, operator, selectors, walk
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World, matches

_WHOLE = re.compile(r"\d+")
_SAMPLES = 4  # a rate over fewer scrapes than this has gaps when one is lost


def missing_job(rule: Rule, world: World) -> Iterator[Fault]:
    """An exported metric without a `job` matcher: any other target that exports the same name is included."""
    for selector, _above in selectors(rule.tree):
        name = name_of(selector)
        if ":" in name or name in exported.OWN:
            continue
        if "job" not in {matcher.name for matcher in selector.matchers.matchers}:
            series = world.series.get(name)
            job = "|".join(sorted((series.jobs if series else frozenset()) & world.here.jobs)) or "…"
            yield Fault(f"{name or selector} without a job", f'write {name}{{job="{job}"}}', name)


def wrong_job(rule: Rule, world: World) -> Iterator[Fault]:
    """A job that prometheus.yml does not have, or whose targets do not export the metric."""
    for selector, _ in selectors(rule.tree):
        series = world.series.get(name_of(selector))
        for matcher in selector.matchers.matchers:
            if matcher.name != "job" or matcher.op not in (MatchOp.Equal, MatchOp.Re):
                continue
            jobs = (series.jobs if series and series.jobs else world.here.jobs) & world.here.jobs
            if jobs and not any(matches(matcher, job) for job in jobs):
                there = ", ".join(sorted(jobs))
                yield Fault(f"no job that {matcher} takes has {name_of(selector)}", f"its jobs are {there}", "job")


def integer_le(rule: Rule, _: World) -> Iterator[Fault]:
    """A whole number as `le`: Prometheus 3 writes it with `.0`, so the matcher selects nothing."""
    for selector, _above in selectors(rule.tree):
        for matcher in selector.matchers.matchers:
            if matcher.name == "le" and _WHOLE.fullmatch(matcher.value):
                value = matcher.value
                fix = f'write le=~"{value}(\\\\.0)?", which both take'
                yield Fault(f'le="{value}" is le="{value}.0" since Prometheus 3', fix, "le")


def short_range(rule: Rule, world: World) -> Iterator[Fault]:
    """A rate over fewer than four scrapes: one failed scrape leaves a gap."""
    least = _SAMPLES * world.here.scrape_interval
    for call, _ in calls(rule.tree, *RATES, "deriv", "delta", "idelta"):
        part = call.args[0]
        if isinstance(part, MatrixSelector) and part.range.total_seconds() < least:
            window = _spoken(part.range)
            yield Fault(f"{operator(call)} over {window} holds too few samples", f"take at least {least:g}s", window)


def range_beyond_retention(rule: Rule, world: World) -> Iterator[Fault]:
    """A range or offset longer than the retention: Prometheus silently evaluates less."""
    for node, above in walk(rule.tree):
        if not isinstance(node, VectorSelector):
            continue
        back = timedelta(0)
        for part in (*above, node):
            if isinstance(part, MatrixSelector | SubqueryExpr) and part.range:
                back += part.range
            if isinstance(part, VectorSelector | SubqueryExpr) and part.offset:
                back += part.offset
        if back.total_seconds() > world.here.retention:
            kept = _spoken(timedelta(seconds=world.here.retention))
            text = f"it looks back {_spoken(back)}, and Prometheus keeps {kept}"
            yield Fault(text, "look back less, or keep more (deploy/config/prometheus.yml)", name_of(node))


def exporter_health(rule: Rule, world: World) -> Iterator[Fault]:
    """`up` of an exporter used as the health of its server: it stays 1 while the server is down."""
    names = {name_of(selector) for selector, _ in selectors(rule.tree)}
    for selector, above in selectors(rule.tree):
        compared = any(isinstance(part, BinaryExpr) and str(part.op) in COMPARISONS - {"==", ">"} for part in above)
        compared |= any(isinstance(p, BinaryExpr) and str(p.op) == "==" and str(p.rhs) == "0" for p in above)
        if not rule.alerts or name_of(selector) != "up" or not compared:
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name != "job" or matcher.op not in (MatchOp.Equal, MatchOp.Re):
                continue
            for job in sorted(world.here.jobs):
                health = next((n for n, s in world.series.items() if n.endswith("_up") and job in s.jobs), "")
                if health and health not in names and matches(matcher, job):
                    text = f'up{{job="{job}"}} is the exporter\'s, and stays 1 while its server is dead'
                    yield Fault(text, f'write {health}{{job="{job}"}} == 0 or up{{job="{job}"}} == 0', "up")


def _spoken(time: timedelta) -> str:
    seconds = time.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
