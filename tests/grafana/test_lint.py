"""Each check of the dashboards' lint: a dashboard broken in one place is refused, in words that name it and the fix."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grafana.lint.__main__ import main
from grafana.lint.board import parse
from grafana.lint.checks.links import alert_to_nowhere
from grafana.lint.register import ALERT_TO_NOWHERE, CHECKS, NAMES, about
from grafana.lint.run import DASHBOARDS, of_document
from grafana.lint.scene import Scene, scene
from tests.grafana.good import CONTEXT, MEMORY, P95, REQUESTS, Json, dashboard, panel, target, variable

Change = Callable[[Json], None]


def put(value: object, *path: str | int) -> Change:
    """Write a value into a place of the dashboard."""

    def change(board: Json) -> None:
        inner: Any = board
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return change


def query(expr: str, legend: str | None = None, panel: int = 0) -> Change:
    """Ask something else in a panel."""

    def change(board: Json) -> None:
        asked = board["panels"][panel]["targets"][0]
        asked["expr"] = expr
        asked["legendFormat"] = asked["legendFormat"] if legend is None else legend

    return change


def default(name: str, value: object, panel: int = 0) -> Change:
    return put(value, "panels", panel, "fieldConfig", "defaults", name)


def steps(panel: int, *values: float | None) -> Change:
    listed = [{"color": "green", "value": value} for value in (None, *values)]
    return default("thresholds", {"mode": "absolute", "steps": listed}, panel)


def add(value: Json, *path: str | int) -> Change:
    def change(board: Json) -> None:
        inner: Any = board
        for part in path:
            inner = inner[part]
        inner.append(value)

    return change


def counting(expr: str) -> Change:
    """Count something in the first panel."""

    def change(board: Json) -> None:
        query(expr, "{{instance}}")(board)
        default("unit", "short")(board)

    return change


def crowd(board: Json) -> None:
    """Hide 25 more panels in a row."""
    hidden = [panel(number, f"Panel {number}", "short", []) for number in range(10, 35)]
    place = {"h": 1, "w": 24, "x": 0, "y": 99}
    board["panels"].append(
        {"id": 9, "type": "row", "title": "More", "collapsed": True, "gridPos": place, "panels": hidden}
    )


def colourless(board: Json) -> None:
    default("color", {"mode": "thresholds"})(board)
    board["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] = "transparent"


REQUESTS_PANEL, ANSWERS, FAILURES = (
    'panel 1 "How many requests?"',
    'panel 2 "How long does',
    'panel 3 "How many fail?"',
)
IN_PANEL = ("panels", 0)
OFTEN = 'sum by (method) (rate(http_requests_total{job=~"$job"}[5m]))'
# check -> each way to break the dashboard, with words of the message and of its fix
CASES: dict[str, list[tuple[Change, tuple[str, ...]]]] = {
    "unknown-key": [
        (put("What it is.", *IN_PANEL, "descriptoin"), (REQUESTS_PANEL, "descriptoin", "write description")),
        (put("dashed", *IN_PANEL, "fieldConfig", "defaults", "custom", "lineWidht"), ("lineWidht", "write lineWidth")),
        (put("now", "tiem"), ("tiem", "write time")),
    ],
    "dashboard-without-name": [
        (put("overview", "uid"), ('"overview"', "begin it with heypeter-")),
        (put("", "title"), ("no title",)),
        (put(" ", "description"), ("no description", "write a description")),
    ],
    "duplicate-uid": [(put("heypeter-technical", "uid"), ("heypeter-technical", "technical.json", "another uid"))],
    "crowded-dashboard": [(crowd, ("29 panels (at most 25)", "split it"))],
    "editable-dashboard": [(put(True, "editable"), ("edited in the browser", "readonly()"))],  # noqa: FBT003  # JSON
    "wrong-schema": [(put(39, "schemaVersion"), ("schemaVersion is 39", "set it to 42"))],
    "datasource-variable": [
        (put("loki", "templating", "list", 0, "query"), ("$datasource (loki)", "with the query prometheus")),
        (add({"name": "other", "type": "datasource", "query": "prometheus"}, "templating", "list"), ("$other",)),
    ],
    "narrow-variable": [
        (put(False, "templating", "list", 1, "multi"), ("variable $job", "multi")),  # noqa: FBT003  # JSON
        (put(False, "templating", "list", 1, "includeAll"), ("variable $job", "includeAll")),  # noqa: FBT003  # JSON
        (put(None, "templating", "list", 1, "allValue"), ("variable $job", "allValue")),
        (put(1, "templating", "list", 1, "refresh"), ("variable $job", "refresh 2")),
        (put("", "templating", "list", 1, "label"), ("variable $job", "a label")),
        (put({"uid": "mine"}, "templating", "list", 1, "datasource"), ("variable $job", "${datasource}")),
    ],
    "undeclared-variable": [(query(REQUESTS.replace("$job", "$jobs")), (REQUESTS_PANEL, "$jobs", "$job"))],
    "unused-variable": [
        (add(variable() | {"name": "region"}, "templating", "list"), ("variable $region", "remove it")),
    ],
    "variable-as-one-value": [(query(REQUESTS.replace("=~", "=")), (REQUESTS_PANEL, "$job", 'write =~"$job"'))],
    "variable-without-values": [
        (put("metrics(http)", "templating", "list", 1, "query"), ("variable $job", "write label_values(")),
    ],
    "repeated-id": [
        (put(2, *IN_PANEL, "id"), (REQUESTS_PANEL.replace("1", "2"), "How long does an answer take?", "a new id")),
        (put(None, *IN_PANEL, "id"), ("it has no id", "give it a number")),
    ],
    "overlapping-panels": [
        (
            put({"h": 8, "w": 12, "x": 6, "y": 0}, "panels", 1, "gridPos"),
            (ANSWERS, f"it lies on {REQUESTS_PANEL}", "move"),
        ),
    ],
    "beyond-the-grid": [
        (put({"h": 8, "w": 13, "x": 12, "y": 0}, "panels", 1, "gridPos"), (ANSWERS, "column 25", "make it narrower")),
        (put(None, "panels", 1, "gridPos"), (ANSWERS, "no place", "gridPos")),
    ],
    "hole-in-the-grid": [
        (put({"h": 8, "w": 10, "x": 12, "y": 0}, "panels", 1, "gridPos"), (ANSWERS, "x 22, y 0", "24 wide")),
        (put({"h": 8, "w": 12, "x": 12, "y": 9}, "panels", 3, "gridPos"), ("x 12, y 8",)),
    ],
    "nameless-panel": [
        (put("", *IN_PANEL, "title"), ('panel 1 ""', "no title")),
        (put("", *IN_PANEL, "description"), (REQUESTS_PANEL, "no description")),
    ],
    "panel-without-query": [
        (put([], *IN_PANEL, "targets"), (REQUESTS_PANEL, "no query")),
        (query(" "), (REQUESTS_PANEL, "query A is empty")),
    ],
    "repeated-ref-id": [(add(target(MEMORY, "{{instance}}"), *IN_PANEL, "targets"), (REQUESTS_PANEL, 'refId "A"'))],
    "fixed-datasource": [
        (put({"uid": "abc"}, *IN_PANEL, "datasource"), (REQUESTS_PANEL, "abc", "${datasource}")),
        (put(None, *IN_PANEL, "targets", 0, "datasource"), (REQUESTS_PANEL, "query A", "${datasource}")),
        (put({"uid": "abc"}, "annotations", "list", 0, "datasource"), ('annotation "Alerts"', "${datasource}")),
    ],
    "unknown-unit": [
        (default("unit", "reqs"), (REQUESTS_PANEL, "no unit reqs", "write reqps")),
        (default("unit", ""), (REQUESTS_PANEL, "it has no unit")),
    ],
    "wrong-unit": [
        (default("unit", "ms", 1), (ANSWERS, "it gives seconds, and the unit is ms", "write", "s")),
        (default("unit", "percent", 2), (FAILURES, "it gives share", "write percentunit")),
        (default("unit", "s"), (REQUESTS_PANEL, "events a second", "reqps")),
        (query('sum(redis_memory_used_bytes{job="redis"})'), ("it gives bytes", "decbytes")),
        (query('avg(rate(node_cpu_seconds_total{job="node"}[$__rate_interval]))'), ("it gives share",)),
        (query('time() - max(security_scan_last_success_timestamp_seconds{job="heypeter-app"})'), ("gives seconds",)),
    ],
    "silent-emptiness": [
        (default("noValue", "No data"), (REQUESTS_PANEL, '"No data"', "noValue")),
        (default("noValue", ""), (REQUESTS_PANEL, "noValue")),
    ],
    "accidental-colour": [
        (default("color", {}), (REQUESTS_PANEL, "color.mode")),
        (
            colourless,
            (REQUESTS_PANEL, "transparent", "palette-classic"),
        ),
    ],
    "usage-shows-available": [
        (
            query('node_memory_MemAvailable_bytes{job="node"} / node_memory_MemTotal_bytes{job="node"}', panel=3),
            ('panel 4 "Memory usage"', "plots what is left", "1 - available / total"),
        ),
    ],
    "unreadable-query": [(query(f"({REQUESTS}"), (REQUESTS_PANEL, "unclosed left parenthesis", "correct it"))],
    "own-window": [(query(OFTEN.replace("5m", "7m")), (REQUESTS_PANEL, "http_requests_total", "[$__rate_interval]"))],
    "unaggregated-counter": [
        (query('rate(http_requests_total{job=~"$job"}[$__rate_interval])'), (REQUESTS_PANEL, "write sum by (…)")),
    ],
    "fractional-count": [
        (counting('sum(increase(http_requests_total{job=~"$job"}[1h]))'), (REQUESTS_PANEL, "write round(")),
        (counting('increase(node_vmstat_oom_kill{job="node"}[10m])'), (REQUESTS_PANEL, "fractions")),
    ],
    "legend-without-label": [(query(REQUESTS, "requests"), (REQUESTS_PANEL, '"requests"', "{{method}}"))],
    "legend-lacks-label": [
        (query(REQUESTS.replace("method", "method, route")), (REQUESTS_PANEL, "splits by route", "add {{route}}")),
    ],
    "unknown-legend-label": [(query(REQUESTS, "{{method}} {{rout}}"), (REQUESTS_PANEL, "no label rout", "method"))],
    "repeated-legend": [
        (add(target(P95, "95th percentile", "B"), "panels", 1, "targets"), (ANSWERS, "A and B", '"95th percentile"')),
    ],
    "lost-threshold": [
        (steps(2), (FAILURES, "no line at 0.05 (HighErrorRate)", "add a threshold at 0.05")),
        (steps(1, 3.0), (ANSWERS, "no line at 0.5 (benchmark api_response)", "add a threshold at 0.5")),
        (query('heypeter:benchmark:value{benchmark="cpu"}', "CPU", 2), ("no line at 0.7 (benchmark cpu)",)),
        (
            query("1 - job:http_requests_errors:ratio_rate5m", "good of {{job}}", 2),
            ("no line at 0.95 (HighErrorRate)",),
        ),
    ],
    "invented-threshold": [
        (steps(2, 0.05, 0.06), (FAILURES, "compares this with 0.06", "write 0.05")),
        (steps(0, 100.0), (REQUESTS_PANEL, "compares this with 100", "write 0.05")),
    ],
    "undrawn-threshold": [(default("custom", {}, 2), (FAILURES, "(0.05) are not drawn", "thresholdsStyle"))],
    "dead-link": [
        (put("/d/heypeter-tecnical", *IN_PANEL, "links", 0, "url"), (REQUESTS_PANEL, "no dashboard heypeter-tecnical")),
        (
            put(
                f"/d/heypeter-technical?viewPanel=9999&{CONTEXT}",
                *IN_PANEL,
                "links",
                0,
                "url",
            ),
            ("has no panel 9999",),
        ),
        (
            put(
                "https://github.com/heypeteracademy/monitoring/blob/main/docs/runbooks/HighErorRate.md",
                "links",
                0,
                "url",
            ),
            ("there is no docs/runbooks/HighErorRate.md", "write docs/runbooks/HighErrorRate.md"),
        ),
    ],
    "link-without-context": [
        (put("/d/heypeter-technical", *IN_PANEL, "links", 0, "url"), (REQUESTS_PANEL, "${__all_variables}")),
        (
            put("/d/heypeter-technical?${__all_variables}", *IN_PANEL, "links", 0, "url"),
            (REQUESTS_PANEL, "add ${__url_time_range}"),
        ),
        (
            default("links", [{"title": "More", "url": "/d/heypeter-technical"}]),
            (REQUESTS_PANEL, CONTEXT),
        ),
        (put({"type": "dashboards", "title": "All", "tags": [], "keepTime": True}, "links", 0), ("includeVars",)),
    ],
    "unknown-metric": [
        (query(REQUESTS.replace("requests", "request")), (REQUESTS_PANEL, "http_request_total", "http_requests_total")),
        (put('max(ALERT{a="b"})', "annotations", "list", 0, "expr"), ('annotation "Alerts"', "ALERT")),
        (
            put("label_values(htp_requests_total, job)", "templating", "list", 1, "query"),
            ("variable $job", "htp_requests"),
        ),
    ],
    "unrecorded-series": [
        (query("job:http_requests:rate50m", "{{job}}"), (REQUESTS_PANEL, "job:http_requests:rate5m"))
    ],
    "unknown-label": [
        (query(REQUESTS.replace("(method)", "(verb)"), "x"), (REQUESTS_PANEL, "no series here has a label verb"))
    ],
    "missing-job": [(query(REQUESTS.replace('{job=~"$job"}', "")), (REQUESTS_PANEL, "without a job", "heypeter-app"))],
    "wrong-job": [(query(REQUESTS.replace('=~"$job"', '="node"')), (REQUESTS_PANEL, "its jobs are heypeter-app"))],
    "integer-le": [
        (query('sum(rate(http_request_duration_seconds_bucket{job=~"$job", le="3"}[$__rate_interval]))', "x"), ("le",))
    ],
    "range-beyond-retention": [
        (query('avg_over_time(up{job="node"}[400d])', "{{instance}}"), (REQUESTS_PANEL, "400d"))
    ],
    "counter-without-rate": [(query('sum(http_requests_total{job=~"$job"})', "x"), (REQUESTS_PANEL, "is a counter"))],
    "rate-of-gauge": [
        (query('sum(rate(node_load1{job="node"}[$__rate_interval]))', "x"), (REQUESTS_PANEL, "node_load1")),
    ],
    "average-of-ratios": [
        (query("avg(job:http_requests_errors:rate5m / job:http_requests:rate5m)", "x"), (REQUESTS_PANEL,)),
    ],
    "quantile-without-le": [(query(P95.replace("(le)", "(route)"), "x", 1), (ANSWERS, "le"))],
}


@pytest.fixture(scope="module")
def around() -> Scene:
    documents = [parse(str(path), path.read_text("utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))]
    return scene(tuple(documents))


def judged(board: Json, around: Scene) -> dict[str, str]:
    """Judge a dashboard; give the messages by the name of their check."""
    fresh = replace(around, _queries={})
    document = parse("good.json", json.dumps(board, indent=2))
    text_of_check: dict[str, str] = {}
    for one in of_document(document, fresh):
        text_of_check[one.check] = text_of_check.get(one.check, "") + one.plain
    return text_of_check


def test_the_good_dashboard_passes(around: Scene) -> None:
    assert judged(dashboard(), around) == {}


@pytest.mark.parametrize(
    ("check", "change", "words"), [(name, *case) for name, cases in CASES.items() for case in cases]
)
def test_a_dashboard_broken_on_purpose_is_refused(
    check: str, change: Change, words: tuple[str, ...], around: Scene
) -> None:
    board = dashboard()
    change(board)
    text_of_check = judged(board, around)
    assert check in text_of_check, text_of_check
    missing = [word for word in words if word not in text_of_check[check]]
    assert not missing, text_of_check[check]
    assert "fix: " in text_of_check[check]


def test_every_check_is_shown_refusing_something() -> None:
    assert set(CASES) == set(CHECKS)
    assert set(NAMES) == {*CHECKS, ALERT_TO_NOWHERE}
    assert all(about(name).endswith(".") for name in NAMES)


def test_the_dashboards_of_the_product_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


def test_an_alert_leads_to_a_dashboard_and_panel_that_exist(around: Scene) -> None:
    rule = next(one for one in around.world.rules if one.alerts)
    to = "https://grafana.heypeteracademy.com/d"
    for url, told in {
        f"{to}/heypeter-technical": "",
        f"{to}/heypeter-technical?viewPanel=5": "",
        f"{to}/heypeter-hosts?viewPanel=149": 'in the folded row "Load, disk utilisation, network"',
        f"{to}/heypeter-tecnical": "there is no dashboard heypeter-tecnical",
        f"{to}/heypeter-technical?viewPanel=panel-99999": "has no panel 99999",
        "https://grafana.heypeteracademy.com": "its dashboard_url is",
    }.items():
        said = alert_to_nowhere(replace(rule, annotations={"dashboard_url": url}), around)
        assert told in said, url
        assert bool(said) == bool(told), url


def test_a_number_changed_in_the_table_is_missed_in_the_panel(around: Scene) -> None:
    """The lines are held to the table, not to a copy of it."""
    changed = {key: [replace(one, value=one.value * 2) for one in numbers] for key, numbers in around.drawn.items()}
    assert "lost-threshold" in judged(dashboard(), replace(around, drawn=changed))


def test_what_is_hidden_in_a_collapsed_row_is_judged_too(around: Scene) -> None:
    board = dashboard()
    hidden = board["panels"].pop()
    hidden["gridPos"] = {"h": 8, "w": 20, "x": 0, "y": 17}
    hidden["fieldConfig"]["defaults"]["unit"] = "parsec"
    board["panels"][2]["gridPos"]["w"] = 24
    place = {"h": 1, "w": 24, "x": 0, "y": 16}
    board["panels"].append(
        {"id": 9, "type": "row", "title": "More", "collapsed": True, "gridPos": place, "panels": [hidden]}
    )
    text_of_check = judged(board, around)
    assert set(text_of_check) == {"unknown-unit", "wrong-unit", "hole-in-the-grid"}, text_of_check
    assert "x 20, y 17" in text_of_check["hole-in-the-grid"]
    assert 'panel 4 "Memory usage"' in text_of_check["unknown-unit"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "this is no JSON"),
        ("[]", "no JSON object"),
        ('{"dashboard": {"title": "x"}}', "envelope of the HTTP API"),
        ('{"panels": [{"id": "one"}]}', "$.panels[0].id"),
        ("\udcff", "codec"),
    ],
)
def test_a_file_that_is_no_dashboard_is_refused_in_one_message(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main([str(path)]) == 1
    said = capsys.readouterr().out
    assert told in said
    assert said.startswith(f"{path}:1: unreadable-dashboard: ")
    assert said.count("\n") == 2


def test_messages_stand_where_the_panel_is_and_github_shows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = dashboard()
    board["panels"][2]["fieldConfig"]["defaults"]["unit"] = "percent"
    board["panels"][2]["links"] = []
    for other in board["panels"]:
        other["links"] = []
    path = tmp_path / "good.json"
    path.write_text(json.dumps(board, indent=2), "utf-8")
    line = path.read_text("utf-8").split('"How many fail?"')[0].count("\n") + 1
    assert main([str(path)]) == 1
    place = 'Good: panel 3 "How many fail?" query A'
    assert f"{path}:{line}: {place}: wrong-unit: it gives share" in capsys.readouterr().out
    assert main([str(path), "--format=github"]) == 1
    assert capsys.readouterr().out.startswith(f"::error file={path},line={line},title=wrong-unit::{place}")


def test_a_missing_file_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.json"]) == 1
    assert "it cannot be read: No such file" in capsys.readouterr().out


def test_the_page_lists_exactly_the_checks() -> None:
    text = Path("docs/dashboard-checks.md").read_text("utf-8")
    rows = dict(line.strip("| \n").split(" | ", 1) for line in text.splitlines() if line.startswith("| `"))
    assert rows == {f"`{name}`": about(name) for name in NAMES}
