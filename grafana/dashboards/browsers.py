"""Browser section of the technical dashboard: page speed and errors."""

from grafana.dashboards.duration import quantile
from grafana.dashboards.school import APP
from grafana.panel import Line, Query, Section, Series, Target

_VITALS = f"sum by (vital) (rate(rum_web_vitals_total{{{APP}}}[$__rate_interval]))"
_GOOD = f'sum by (vital) (rate(rum_web_vitals_total{{{APP}, rating="good"}}[$__rate_interval]))'
_PAGES = quantile(0.75, f"rum_page_load_duration_seconds_bucket{{{APP}}}", "15m", "page")
_ERRORS = {
    "js_errors": "Uncaught errors",
    "unhandled_rejections": "Unhandled rejections",
    "resource_failures": "Failed resource loads",
}

BROWSERS = Section(
    160,
    "Browsers",
    (
        Line(
            8,
            (
                Series(
                    id=161,
                    title="Slowest pages",
                    about="75th percentile of page load time, ten slowest pages. Dashed: benchmark ({page_load}).",
                    unit="s",
                    queries=(Query(f"topk(10, {_PAGES})", "{{page}}"),),
                    limits=(Target("page_load"),),
                    width=6,
                    empty="No page loads",
                ),
                Series(
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
                    width=6,
                    empty="No page loads",
                ),
                Series(
                    id=163,
                    title="Good web vitals",
                    interval="5m",
                    about="Share of reports rated good. Google recommends at least 75%.",
                    unit="percentunit",
                    queries=(Query(f"({_GOOD} or 0 * {_VITALS}) / ({_VITALS} > 0)", "{{vital}}"),),
                    largest=1,
                    width=6,
                    empty="No web vitals reported",
                ),
                Series(
                    id=164,
                    title="Browser errors",
                    about="Errors per minute. A broken release usually shows here first.",
                    unit="short",
                    queries=tuple(
                        Query(f"60 * sum(rate(rum_{name}_total{{{APP}}}[$__rate_interval])) or vector(0)", text)
                        for name, text in _ERRORS.items()
                    ),
                    width=6,
                    empty="No errors reported",
                ),
            ),
        ),
    ),
)
