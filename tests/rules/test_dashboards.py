"""The dashboards: what they ask for exists, Prometheus can parse it, and each panel says what it shows."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.stack

DASHBOARDS = sorted(Path("grafana/dashboards").glob("*.json"))
FROM_EXPORTERS = {"pg_stat_activity_count"}  # real exporters' families, seen on theirs


def known() -> set[str]:
    catalogue = yaml.safe_load(Path("exporter/catalogue.yml").read_text("utf-8"))
    names = {family["name"] for family in catalogue["families"]}
    for path in Path("rules").glob("*.yml"):
        groups = yaml.safe_load(path.read_text("utf-8"))["groups"]
        names |= {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    return names | FROM_EXPORTERS


def panels() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text("utf-8"))
        found += [(f"{path.stem}: {panel['title']}", panel) for panel in dashboard["panels"]]
    return found


@pytest.mark.parametrize(("name", "panel"), panels(), ids=lambda p: p if isinstance(p, str) else "")
def test_a_panel_asks_for_what_exists_and_says_what_it_shows(name: str, panel: dict[str, Any]) -> None:
    assert panel["description"], f"{name}: say what it shows"
    assert panel["fieldConfig"]["defaults"]["unit"], f"{name}: give the unit"
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert len(set(legends)) == len(legends), f"{name}: two queries have the same legend"
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "1m")
        rule = {"groups": [{"name": "panel", "rules": [{"record": "x", "expr": expr}]}]}
        tool = [".stack/bin/promtool", "check", "rules", "/dev/stdin"]
        done = subprocess.run(tool, input=yaml.safe_dump(rule), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        for metric in re.findall(r"([a-zA-Z_:][\w:]*)(?=\{)|(?<![\w:])(\w+:[\w:]+)", expr):
            family = re.sub(r"_(bucket|sum|count)$", "", "".join(metric))
            assert family in known() or "".join(metric) in known(), f"{name}: nothing exports {''.join(metric)}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=str)
def test_a_dashboard_has_stable_ids_and_no_overlap(path: Path) -> None:
    dashboard = json.loads(path.read_text("utf-8"))
    assert dashboard["uid"].startswith("heypeter-")
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{path}: {panel['title']} lies on another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
