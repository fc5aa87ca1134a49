"""The preview of the dashboards: its packages are pinned, it can draw all that we show, and its own arithmetic."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from deploy.local.node import node_folder
from deploy.local.ports import free_port
from deploy.simulation import rule_results
from grafana.preview.__main__ import PHONE, main, scrape_interval
from grafana.preview.digests import note, shows, stale
from grafana.preview.past import data_digest
from grafana.preview.picture import DEVICES, THEMES
from grafana.preview.site import serve

SOURCE = Path("grafana/preview")
PICTURES = Path("docs/images/dashboards")
DASHBOARDS = sorted(Path("grafana/dashboards").glob("*.json"))


def run(module: str, expression: str) -> Any:  # noqa: ANN401  # whatever the expression gives
    """Give the value of an expression over the names of a module of the page, as Node has it."""
    address = (SOURCE / "src" / module).resolve().as_uri()
    names = re.findall(r"^export (?:const|function) (\w+)", (SOURCE / "src" / module).read_text("utf-8"), re.MULTILINE)
    script = f"import {{ {', '.join(names)} }} from '{address}'; console.log(JSON.stringify({expression}));"
    node = [str(node_folder() / "node"), "--input-type=module", "-e", script]
    done = subprocess.run(node, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def panels(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [panel for one in rows for panel in (one, *panels(one.get("panels", [])))]


def test_the_packages_are_pinned_and_the_lock_agrees_and_names_no_place() -> None:
    manifest = json.loads((SOURCE / "package.json").read_text("utf-8"))
    text = (SOURCE / "package-lock.json").read_text("utf-8")
    lock = json.loads(text)["packages"]
    for kind in ("dependencies", "devDependencies"):
        assert manifest[kind] == lock[""][kind]
        for name, version in manifest[kind].items():
            assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} is not pinned"
            assert lock[f"node_modules/{name}"]["version"] == version
    for place, package in lock.items():
        assert place == "" or package["integrity"].startswith("sha512-"), place
        assert "resolved" not in package, f"{place}: npm fetches it from where its user says"
    # With one of them in another version, the components do not fit each other.
    grafana = {
        name: lock[f"node_modules/@grafana/{name}"]["version"]
        for name in ("data", "e2e-selectors", "i18n", "schema", "ui")
    }
    assert len(set(grafana.values())) == 1, grafana


def test_every_panel_of_the_dashboards_can_be_drawn() -> None:
    source = (SOURCE / "src/panels.tsx").read_text("utf-8")
    table = source.partition("export const PANELS")[2].partition("};")[0]
    known = {"row", *re.findall(r"^  \"?([\w-]+)\"?: \w+,$", table, re.MULTILINE)}
    assert len(known) > 5, known
    for path in DASHBOARDS:
        for panel in panels(json.loads(path.read_text("utf-8"))["panels"]):
            assert panel["type"] in known, f"{path}: the preview cannot draw {panel['title']!r}, a {panel['type']}"


def test_a_rate_is_taken_as_grafana_takes_it_with_our_datasource() -> None:
    config = yaml.safe_load(Path("deploy/config/prometheus.yml").read_text("utf-8"))
    assert scrape_interval() == config["global"]["scrape_interval"]
    values = dict(run("answer.ts", "[...builtIns(30, 15, 21600)].map(([name, { value }]) => [name, value])"))
    assert (values["__interval"], values["__rate_interval"], values["__range"]) == ("30s", "60s", "21600s")
    wide = dict(run("answer.ts", "[...builtIns(300, 15, 86400)].map(([name, { value }]) => [name, value])"))
    assert wide["__rate_interval"] == "315s"


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("{{method}} {{ route }}", "GET /api"),
        ("fixed", "fixed"),
        ("{{absent}}!", "!"),
        ("", 'up{method="GET", route="/api"}'),
    ],
)
def test_a_legend_names_the_series(form: str, shown: str) -> None:
    metric = json.dumps({"__name__": "up", "method": "GET", "route": "/api"})
    assert run("answer.ts", f"legend({json.dumps(form)}, {metric})") == shown


def test_every_kind_of_answer_becomes_series() -> None:
    vector = {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [5, "1.5"]}]}
    assert run("answer.ts", f"series({json.dumps(vector)})") == [{"metric": {"a": "b"}, "points": [[5, 1.5]]}]
    scalar = {"resultType": "scalar", "result": [7, "3"]}
    assert run("answer.ts", f"series({json.dumps(scalar)})") == [{"metric": {}, "points": [[7, 3]]}]
    matrix = {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "2"], [2, "-Inf"]]}]}
    assert run("answer.ts", f"series({json.dumps(matrix)})[0].points[1][1] === -Infinity")


VALUES = """new Map([["job", { value: ["a.b", "c"], text: "a.b + c" }], ["one", { value: "x", text: "X" }],
  ["single", { value: ["a.b"], text: "a.b" }]])"""


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('up{job=~"$job"}', 'up{job=~"(a\\\\.b|c)"}'),
        ('up{job=~"${job}", x="$one"}', 'up{job=~"(a\\\\.b|c)", x="x"}'),
        ("$single", "a\\\\.b"),
        ("${job:pipe} ${job:csv} ${one:text}", "a.b|c a.b,c X"),
        ("$unknown ${one}s $oneness", "$unknown xs $oneness"),
    ],
)
def test_variables_stand_in_a_query_as_grafana_writes_them(text: str, written: str) -> None:
    assert run("variables.ts", f"interpolate({json.dumps(text)}, {VALUES})") == written


def test_variables_stand_in_a_title_as_people_read_them() -> None:
    assert run("variables.ts", f"spoken('Load of $job on $one', {VALUES})") == "Load of a.b + c on X"


GRID = """[{ id: 2, gridPos: { x: 12, y: 1, w: 12, h: 4 } }, { id: 3, gridPos: { x: 0, y: 5, w: 24, h: 2 } },
  { id: 1, gridPos: { x: 0, y: 1, w: 12, h: 4 } }, { id: 0, type: "row", gridPos: { x: 0, y: 0, w: 24, h: 1 } }]"""


def test_a_desktop_has_a_grid_and_a_phone_one_column() -> None:
    shown = "(box) => [box.panel.id, box.left, box.top, box.width, box.height]"
    assert run("layout.ts", f"place({GRID}, 1408, false).map({shown})") == [
        [0, 0, 0, 1408, 30],
        [1, 0, 38, 700, 144],
        [2, 708, 38, 700, 144],
        [3, 0, 190, 1408, 68],
    ]
    phone = run("layout.ts", f"place({GRID}, 358, true).map({shown})")
    assert [(number, left, width) for number, left, _, width, _ in phone] == [(n, 0, 358) for n in range(4)]
    assert [top for _, _, top, _, _ in phone] == [0, 38, 190, 342]
    assert run("layout.ts", f"height(place({GRID}, 358, true))") == 410


def test_a_folded_row_opens_and_moves_what_is_below() -> None:
    folded = """[{ id: 1, type: "row", collapsed: true, gridPos: { x: 0, y: 0, w: 24, h: 1 },
      panels: [{ id: 2, gridPos: { x: 0, y: 1, w: 24, h: 8 } }] }, { id: 3, gridPos: { x: 0, y: 1, w: 24, h: 3 } }]"""
    opened = run("layout.ts", f"unfold({folded}).map((panel) => [panel.id, panel.gridPos.y, panel.collapsed])")
    assert opened == [[1, 0, False], [2, 1, None], [3, 9, False]]


def test_an_annotation_lasts_as_long_as_its_points_follow_each_other() -> None:
    series = """[{ metric: { alertname: "Down" }, points: [[60, 1], [120, 1], [300, 1], [360, 0]] }]"""
    query = "{ name: 'Alerts', enable: true, titleFormat: '{{alertname}}', iconColor: 'orange' }"
    assert run("events.ts", f"events({series}, {query}, 60)") == [
        {"from": 60_000, "to": 120_000, "title": "Down", "color": "orange"},
        {"from": 300_000, "to": 300_000, "title": "Down", "color": "orange"},
    ]


def test_equal_neighbours_are_one_state_and_a_hole_stays_a_hole() -> None:
    readings = [{"at": at, "text": text, "color": text} for at, text in ((0, "a"), (10, "a"), (20, "b"), (60, "b"))]
    states = run("states.ts", f"states({json.dumps(readings)}, 70, 20)")
    assert [(state["from"], state["to"], state["text"]) for state in states] == [
        (0, 20, "a"),
        (20, 40, "b"),
        (60, 70, "b"),
    ]


async def test_the_page_reaches_prometheus_and_the_dashboards(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the page", "utf-8")

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": [request.path, request.query["query"]]})

    prometheus = web.Application()
    prometheus.router.add_get("/api/v1/query", answer)
    runner = web.AppRunner(prometheus)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with serve(tmp_path, DASHBOARDS[0].parent, there) as site, aiohttp.ClientSession(site) as session:
        assert await (await session.get("/")).text() == "the page"
        assert (await (await session.get(f"/dashboards/{DASHBOARDS[0].name}")).json())["panels"]
        body = await (await session.get("/prometheus/api/v1/query", params={"query": 'up{a="b"}'})).json()
        assert body["data"] == ["/api/v1/query", 'up{a="b"}']
    await runner.cleanup()


async def test_a_dead_prometheus_is_named(tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    async with serve(tmp_path, tmp_path, dead) as site, aiohttp.ClientSession(site) as session:
        answer = await session.get("/prometheus/api/v1/query")
        assert answer.status == 502
        assert (await answer.json())["error"].startswith(f"Prometheus at {dead} does not answer")


def test_a_dashboard_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ovreview", "--prometheus.url", "http://127.0.0.1:1"]) == 1
    assert "ovreview" in capsys.readouterr().err


def test_the_page_shows_every_picture_and_they_are_small() -> None:
    page = Path("docs/dashboards-preview.md").read_text("utf-8")
    shown = set(re.findall(r'(?:src|srcset)="images/dashboards/([^"]+)"', page))
    there = {str(path.relative_to(PICTURES)): path.stat().st_size for path in PICTURES.rglob("*.webp")}
    assert shown == set(there)
    for path in DASHBOARDS:
        devices = DEVICES if path.stem in PHONE else ["desktop"]
        drawn = {f"{path.stem}-{theme}-{device}.webp" for theme in THEMES for device in devices}
        assert drawn <= shown, f"{path.stem}: run make grafana-preview, and show its pictures on the page"
    assert min(there.values()) > 0
    assert max(there.values()) < 300_000
    assert sum(there.values()) < 6_000_000


def test_each_picture_has_a_digest_of_what_it_shows() -> None:
    unknown = [line for line in stale(PICTURES, DASHBOARDS[0].parent, "") if "nobody" in line or "no dashboard" in line]
    assert unknown == []


def test_a_picture_that_is_older_than_its_dashboard_or_its_data_is_named(tmp_path: Path) -> None:
    board, picture = tmp_path / "x.json", tmp_path / "x-dark-desktop.webp"
    drawn = {"title": "X", "panels": [{"title": "Errors", "description": "Of requests."}]}
    board.write_text(json.dumps(drawn), "utf-8")
    picture.write_bytes(b"a picture")
    assert list(stale(tmp_path, tmp_path, "data")) == ["x-dark-desktop.webp: nobody has written down what it shows"]
    note(picture, "x", "2026-11-24T13:50:00Z", shows(board, "data", "2026-11-24T13:50:00Z"))
    assert list(stale(tmp_path, tmp_path, "data")) == []
    assert len(list(stale(tmp_path, tmp_path, "other data"))) == 1
    drawn["panels"][0]["description"] = "Of all requests."  # type: ignore[index]  # what a picture does not show
    board.write_text(json.dumps(drawn), "utf-8")
    assert list(stale(tmp_path, tmp_path, "data")) == []
    drawn["panels"][0]["title"] = "Error rate"  # type: ignore[index]  # as above
    board.write_text(json.dumps(drawn), "utf-8")
    assert "has changed since" in next(stale(tmp_path, tmp_path, "data"))
    picture.write_bytes(b"another picture")
    assert "nobody" in next(stale(tmp_path, tmp_path, "data"))
    board.unlink()
    note(picture, "x", "", "")
    assert "no dashboard x" in next(stale(tmp_path, tmp_path, "data"))


def test_the_data_of_pictures_changes_with_a_rule_and_not_with_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    before = data_digest()
    assert data_digest() == before
    levels, alerts = rule_results.read()
    monkeypatch.setattr(rule_results, "read", lambda: (levels, alerts[1:]))
    assert data_digest() != before


def test_check_names_stale_pictures_and_fails_only_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "overview-dark-desktop.webp").write_bytes(b"an old picture")
    words = ["--check", "--out", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "overview-dark-desktop.webp" in said
    assert "1 pictures in" in said
    assert main([*words, "--strict"]) == 1
