"""Browsers dashboard: page speed and errors as visitors have them."""

from grafana.dashboards.duration import quantile
from grafana.dashboards.school import APP
from grafana.panel import (
    Board,
    Query,
    Section,
    Series,
    Target,
    lines,
)
from rules.writing import SITE

_VITALS = f"sum by (vital) (rate(rum_web_vitals_total{{{APP}}}[$__rate_interval]))"

_GOOD = f'sum by (vital) (rate(rum_web_vitals_total{{{APP}, rating="good"}}[$__rate_interval]))'

_PAGES = quantile(0.75, f"rum_page_load_duration_seconds_bucket{{{APP}}}", "15m", "page")

_ERRORS = {
    "js_errors": "Uncaught errors",
    "unhandled_rejections": "Unhandled rejections",
    "resource_failures": "Failed resource loads",
}

SLOWEST_PAGES = Series(
    id=161,
    title="Slowest pages",
    about="75th percentile of page load time, ten slowest pages. Dashed: benchmark ({page_load}).",
    unit="s",
    queries=(Query(f"topk(10, {_PAGES})", "{{page}}"),),
    limits=(Target("page_load"),),
    empty="No page loads",
)

PAINT_AND_INTERACTIVE = Series(
    id=162,
    title="First contentful paint and time to interactive",
    about="75th percentile. Dashed: benchmarks ({first_contentful_paint} for first contentful "
    "paint, {time_to_interactive} for time to interactive).",
    unit="s",
    queries=(
        Query('heypeter:benchmark:value{benchmark="first_contentful_paint"}', "First contentful paint"),
        Query('heypeter:benchmark:value{benchmark="time_to_interactive"}', "Time to interactive"),
    ),
    limits=(Target("first_contentful_paint"), Target("time_to_interactive")),
    empty="No page loads",
)

GOOD_WEB_VITALS = Series(
    id=163,
    title="Good web vitals",
    interval="5m",
    about="Share of reports rated good. Google recommends at least 75%.",
    unit="percentunit",
    queries=(Query(f"({_GOOD} or 0 * {_VITALS}) / ({_VITALS} > 0)", "{{vital}}"),),
    largest=1,
    empty="No web vitals reported",
)

BROWSER_ERRORS = Series(
    id=164,
    title="Browser errors",
    about="Errors per minute. A broken release usually shows here first.",
    unit="short",
    queries=tuple(
        Query(f"60 * sum(rate(rum_{name}_total{{{APP}}}[$__rate_interval])) or vector(0)", text)
        for name, text in _ERRORS.items()
    ),
    empty="No errors reported",
)


BROWSERS = Section(
    160,
    "Browsers",
    (*lines(10, SLOWEST_PAGES, PAINT_AND_INTERACTIVE), *lines(9, GOOD_WEB_VITALS, BROWSER_ERRORS)),
)

BOARD = Board(
    uid=f"{SITE.prefix}-browsers",
    title=f"{SITE.name}: browsers",
    about="Are pages fast and free of errors for visitors? For whoever builds them.",
    span="now-6h",
    refresh="30s",
    variables=(),
    sections=(BROWSERS,),
)
