"""What browsers report, on the technical dashboard: how fast pages are, and what breaks in them."""

from grafana.dashboards.duration import quantile
from grafana.dashboards.school import APP
from grafana.panel import Line, Query, Section, Series, Target

_VITALS = f"sum by (vital) (rate(rum_web_vitals_total{{{APP}}}[$__rate_interval]))"
_GOOD = f'sum by (vital) (rate(rum_web_vitals_total{{{APP}, rating="good"}}[$__rate_interval]))'
_PAGES = quantile(0.75, f"rum_page_load_duration_seconds_bucket{{{APP}}}", "15m", "page")
_ERRORS = {
    "js_errors": "Uncaught errors",
    "unhandled_rejections": "Unhandled rejections",
    "resource_failures": "Files that did not load",
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
                    title="Which pages are slow?",
                    about="Three quarters of the loads are faster, for the ten slowest pages. "
                    "Dashed: the benchmark, {page_load}.",
                    unit="s",
                    queries=(Query(f"topk(10, {_PAGES})", "{{page}}"),),
                    limits=(Target("page_load"),),
                    width=6,
                    empty="No page was loaded",
                ),
                Series(
                    id=162,
                    title="When does a page show and react?",
                    about="Three quarters of the loads are faster. Dashed: the benchmarks, {first_contentful_paint} "
                    "for the first content and {time_to_interactive} for the time to interactive.",
                    unit="s",
                    queries=(
                        Query('heypeter:benchmark:value{benchmark="first_contentful_paint"}', "First content"),
                        Query('heypeter:benchmark:value{benchmark="time_to_interactive"}', "Interactive"),
                    ),
                    limits=(Target("first_contentful_paint"), Target("time_to_interactive")),
                    width=6,
                    empty="No page was loaded",
                ),
                Series(
                    id=163,
                    title="Web vitals that are good",
                    interval="5m",
                    about="Share of the reports that are rated good; Google asks for three quarters.",
                    unit="percentunit",
                    queries=(Query(f"({_GOOD} or 0 * {_VITALS}) / ({_VITALS} > 0)", "{{vital}}"),),
                    largest=1,
                    width=6,
                    empty="No vital was reported",
                ),
                Series(
                    id=164,
                    title="What breaks in browsers?",
                    about="Errors a minute; after a deployment they show a broken release first.",
                    unit="short",
                    queries=tuple(
                        Query(f"60 * sum(rate(rum_{name}_total{{{APP}}}[$__rate_interval])) or vector(0)", text)
                        for name, text in _ERRORS.items()
                    ),
                    width=6,
                    empty="No error was reported",
                ),
            ),
        ),
    ),
)
