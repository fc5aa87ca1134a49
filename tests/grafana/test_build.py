"""The dashboards as they are built: fresh, whole, readable by Grafana, and true to the rules and to the document."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import build
from grafana.panel import Panel
from grafana.tables import Numbers

NUMBERS = Numbers.read(Path())
PANELS = [(f"{one.uid}: {panel.title}", panel) for one in build.BOARDS for panel in one.panels()]
FILES = sorted(Path("grafana/dashboards").glob("*.json"))
# The document's chapter "Monitoring Dashboards", item by item, and its "Production Overview": which panels answer it.
DOCUMENT = {
    "heypeter-overview": {
        "Request Rate": [41],
        "Response Time": [42],
        "Error Rate": [43],
        "Database Connections": [44],
        "Memory Usage": [45],
    },
    "heypeter-benchmarks": {"the fifteen benchmarks": list(range(21, 36))},
    "heypeter-executive": {
        "Total active users": [21, 24],
        "Revenue metrics": [41, 42],
        "Class utilization rate": [23, 26],
        "Student satisfaction score": [22, 25],
        "System health status": [2, 6],
    },
    "heypeter-operations": {
        "Real-time user activity": [2, 3, 4],
        "Class schedule status": [21, 22],
        "Payment processing metrics": [42, 43, 45, 46, 47],
        "Support ticket volume": [61, 62],
        "System performance metrics": [81, 82, 83],
    },
    "heypeter-technical": {
        "API response times": [6],
        "Error rates by endpoint": [5],
        "Database performance": [102, 103],
        "Cache hit rates": [122],
        "Infrastructure metrics": [141, 143, 146],
    },
    "heypeter-requests": {"API response times": [3, 6], "Error rates by endpoint": [5]},
    "heypeter-database": {"Database performance": [102, 103, 106, 108]},
    "heypeter-cache": {"Cache hit rates": [122, 123]},
    "heypeter-hosts": {"Infrastructure metrics": [141, 143, 145, 146, 149]},
    "heypeter-security": {
        "Failed login attempts": [2, 4],
        "Suspicious activity patterns": [21, 3],
        "API rate limit violations": [22],
        "Security scan results": [41, 42],
        "Compliance metrics": [61, 62, 63],
    },
    "heypeter-oncall": {
        "Response Times of incidents": [6, 21, 22, 23, 24, 26],
        "Escalation Matrix: who is on call": [8, 9],
    },
}


def substituted(expr: str) -> str:
    """What Prometheus is asked when everything is selected."""
    expr = expr.replace("$__rate_interval", "1m").replace("$__range", "1d").replace("$environment", ".*")
    return re.sub(r"\$(job|team|host)\b", ".+", expr)


def selectors(expr: str) -> list[promql_parser.VectorSelector]:
    read: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            read.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            read.append(node)

    promql_parser.walk(promql_parser.parse(expr), visit)
    return read


def unfolded(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows and panels, with those that are folded away."""
    return [panel for one in panels for panel in (one, *unfolded(one.get("panels") or []))]


def targets() -> list[tuple[str, str]]:
    expressions = []
    for path in FILES:
        drawn = json.loads(path.read_text("utf-8"))
        for panel in unfolded(drawn["panels"]):
            expressions += [(f"{path.stem}: {panel['title']}", target["expr"]) for target in panel.get("targets") or ()]
        expressions += [(f"{path.stem}: {note['name']}", note["expr"]) for note in drawn["annotations"]["list"]]
    return expressions


def test_the_files_are_what_the_code_says() -> None:
    for path, text in build.texts(NUMBERS).items():
        assert path.read_text("utf-8") == text, f"{path}: run `python -m grafana.build`"
    assert {path.stem for path in FILES} == {one.uid.removeprefix("heypeter-") for one in build.BOARDS}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_grafanas_own_types_read_it_and_lose_nothing(path: Path) -> None:
    plugins.register_default_plugins()
    drawn = json.loads(path.read_text("utf-8"))
    assert json.loads(json.dumps(Dashboard.from_json(drawn), cls=JSONEncoder)) == drawn
    assert drawn["schemaVersion"] == 42
    assert drawn["editable"] is False
    assert drawn["timezone"] == "browser"
    names = [variable["name"] for variable in drawn["templating"]["list"]]
    assert names[:2] == ["datasource", "environment"]
    for variable in drawn["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["multi"]
            assert variable["includeAll"]
            # A single Prometheus has no label env on its series: what is absent must be selected, too.
            assert variable["allValue"] == (".*" if variable["name"] == "environment" else ".+")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_grid_has_neither_holes_nor_overlaps(path: Path) -> None:
    shown = json.loads(path.read_text("utf-8"))["panels"]
    ids = [panel["id"] for panel in unfolded(shown)]
    assert len(set(ids)) == len(ids)
    for panels in (shown, *(row["panels"] for row in shown if row.get("panels"))):
        no_hole_and_no_overlap(path, panels)


def no_hole_and_no_overlap(path: Path, panels: list[dict[str, Any]]) -> None:
    cells = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert set(cells.values()) == {1}, f"{path}: panels lie on each other"
    rows = range(min(y for _, y in cells), max(y for _, y in cells) + 1)
    assert set(cells) == {(x, y) for x in range(24) for y in rows}, f"{path}: there is a hole"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_what_is_healthy_has_no_colour(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.findall(r'"color": "[\w-]*green', text)
    for panel in unfolded(json.loads(text)["panels"]):
        if panel["type"] == "stat" and panel["options"]["colorMode"] == "background":
            colours = [step["color"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
            assert colours.count("transparent") == 1, f"{path}: {panel['title']}"


def test_the_overview_begins_with_what_is_broken() -> None:
    """Status, error rate and open incidents on the first screen, with the failing routes and the deployment beside."""
    panels = json.loads(Path("grafana/dashboards/overview.json").read_text("utf-8"))["panels"]
    first = {panel["title"] for panel in panels if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= 22}
    broken = {"Production status", "Error rate", "Open incidents", "Failing routes", "Firing alerts"}
    assert broken | {"Last deployment"} <= first
    assert len([panel for panel in panels if panel["type"] == "stat"]) <= 5
    incidents = next(panel for panel in panels if (panel["title"], panel["type"]) == ("Open incidents", "table"))
    renamed = incidents["transformations"][-1]["options"]["renameByName"]
    assert set(renamed.values()) == {"Priority", "Incident", "Alert", "Owner", "Open for"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_legend_is_cut(path: Path) -> None:
    """Grafana cuts a legend below a graph after three rows: many lines have a list there, or a table beside it."""
    for panel in unfolded(json.loads(path.read_text("utf-8"))["panels"]):
        if panel["type"] == "timeseries":
            legend = panel["options"]["legend"]
            many = len(panel["targets"]) > 2 or any("{{" in one["legendFormat"] for one in panel["targets"])
            below = (legend["placement"], legend["displayMode"]) == ("bottom", "table")
            assert not (many and below), f"{path}: {panel['title']}"


@pytest.mark.parametrize(("uid", "items"), DOCUMENT.items(), ids=DOCUMENT)
def test_every_item_of_the_document_has_its_panels(uid: str, items: dict[str, list[int]]) -> None:
    one = next(board for board in build.BOARDS if board.uid == uid)
    there = {panel.id for panel in one.panels()}
    for item, panels in items.items():
        assert set(panels) <= there, f"{uid}: {item} lost the panels {set(panels) - there}"


def test_every_alert_has_the_panel_that_shows_its_series() -> None:
    places = build.explained(build.BOARDS)
    assert set(places) == set(NUMBERS.alerts), "declare what is missing on a panel: explains=(...)"
    for name, panel in PANELS:
        shown = {one.name for query in panel.queries for one in selectors(substituted(query.expr))}
        for alert in panel.explains:
            asked = {one.name for one in selectors(NUMBERS.alerts[alert]["expr"])}
            assert alert == "Watchdog" or asked & shown, f"{name} shows none of {asked}, which {alert} looks at"


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=[name for name, _ in PANELS])
def test_a_panel_says_what_it_shows_and_what_emptiness_means(name: str, panel: Panel) -> None:
    assert panel.about.endswith("."), f"{name}: describe it in sentences"
    assert panel.empty
    assert panel.unit
    assert "{" not in NUMBERS.say(panel.about), f"{name}: no number was filled in"
    legends = [query.legend for query in panel.queries]
    assert len(set(legends)) == len(legends), f"{name}: two queries have the same legend"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_thresholds_are_the_numbers_of_the_rules(path: Path) -> None:
    one = next(board for board in build.BOARDS if board.uid == f"heypeter-{path.stem}")
    drawn = {panel["id"]: panel for panel in unfolded(json.loads(path.read_text("utf-8"))["panels"])}
    for panel in one.panels():
        steps = drawn[panel.id]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [step["value"] for step in steps if step["value"] is not None]
        assert values == sorted(NUMBERS.limit(limit).value for limit in panel.limits), panel.title


def test_each_selector_asks_for_the_environment() -> None:
    for name, expr in targets():
        for selector in selectors(substituted(expr)):
            labels = [matcher.name for matcher in selector.matchers.matchers]
            assert "env" in labels, f"{name}: write braces behind {selector.name}, empty ones if need be"


@pytest.mark.stack
def test_promtool_parses_every_query() -> None:
    rules = [
        {"record": "x", "expr": substituted(expr), "labels": {"n": str(n)}} for n, (_, expr) in enumerate(targets())
    ]
    text = yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    tool = [".stack/bin/promtool", "check", "rules", "/dev/stdin"]
    done = subprocess.run(tool, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout
