"""`receiver review` on a real Prometheus whose past is known, and on one that is broken, empty or not there."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import free_port
from receiver.__main__ import main
from tests.receiver.config.test_config import EXAMPLE
from tests.receiver.reports.review.past import END, prometheus
from tests.receiver.reports.test_report import a_database

UNTIL = f"{datetime.fromtimestamp(END, UTC):%Y-%m-%dT%H:%M}"
DAY = UNTIL[:10]
TOKEN = "a-token-that-nobody-may-see"
BOARD = {
    "title": "Rooms",
    "templating": {"list": [{"name": "room", "type": "query", "current": {"value": ["$__all"]}, "allValue": ".+"}]},
    "panels": [
        {
            "title": "How warm?",
            "targets": [{"expr": 'avg_over_time(temperature{instance=~"$room"}[$__rate_interval])'}],
        },
        {"title": "How wet?", "targets": [{"expr": "humidity"}]},
        {"type": "row", "panels": [{"title": "How loud?", "targets": [{"expr": "sum("}]}]},
    ],
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("prometheus")) as server_url:
        yield server_url


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    folder = tmp_path / "dashboards"
    folder.mkdir()
    (folder / "rooms.json").write_text(json.dumps(BOARD), "utf-8")
    (folder / "torn.json").write_text('{"title": "To', "utf-8")
    return folder


def reviewed(url: str, period: str, folder: Path, *more: str) -> str:
    command = ["review", "--prometheus.url", url, "--period", period, "--until", UNTIL, "--output", str(folder)]
    assert main([*command, *more]) == 0
    text = (folder / f"review-{period}-{DAY}.md").read_text("utf-8")
    page = (folder / f"review-{period}-{DAY}.html").read_text("utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/", "")  # the name of SVG, and nothing to load
    return text


def row(text: str, start: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    assert lines, f"no row of {start} in\n{text}"
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


@pytest.mark.stack
def test_a_week_has_its_firings_to_the_second_and_its_dead_panels(url: str, boards: Path, tmp_path: Path) -> None:
    text = reviewed(url, "weekly", tmp_path / "out", "--dashboards", str(boards))
    # five firings of two series; two of them lie over each other for 8 minutes: 10 + 10 + 20 + 30 + 8 - 8 = 70
    assert row(text, "TooHot")[1:7] == ["5 times", "1h 10m", "30m", "P1", "house", "2"]
    assert "**5** firings; **1 of 4** alerts fired; **5** of priority P1; **3** dead panels" in text
    assert row(text, "Rooms")[1:3] == ["How wet?", "no data in the whole period"]
    assert "| Rooms | How loud? | Prometheus refused query_range:" in text
    assert "| torn.json | (the whole file) | is not a dashboard of Grafana" in text
    assert "How warm?" not in text
    assert "Thresholds" not in text


@pytest.mark.stack
def test_a_month_says_what_other_thresholds_would_have_done(url: str, tmp_path: Path) -> None:
    text = reviewed(url, "monthly", tmp_path)
    # evaluated every two minutes `for: 2m` is two evaluations, and so are the two minutes of heat before each firing
    tried = row(text, "TooHot")
    shown = next(line for line in text.splitlines() if line.startswith("| TooHot | > 30 for 2m"))
    assert "[30\u00a0→\u00a05]" in shown
    assert "38\u00a0→\u00a00" in shown
    assert "| loosen to 38: 5 firings, 0 with it |" in shown  # one a week would be bearable
    assert "- TooHot: loosen to 38" in text
    assert tried[1] == "5 times"
    never = row(text, "P3")
    assert never[1:] == ["2", "CpuAboveBenchmark, TooCold"]
    assert "Watchdog" not in text  # it is meant to fire for ever
    quiet = next(line for line in text.splitlines() if line.startswith("| TooCold | &lt; 5 |"))
    assert "| 20 |" in quiet  # the closest that it came


@pytest.mark.stack
def test_a_quarter_compares_with_the_one_before_and_remembers(url: str, tmp_path: Path) -> None:
    text = reviewed(url, "quarterly", tmp_path)
    assert row(text, "CPU")[1:7] == ["below 70%", "50%", "40%", "+25.0% worse", "100.0%", "100.0%"]
    assert "CPU +25.0% worse than a quarter ago" in text
    noted = json.loads((tmp_path / "baselines.jsonl").read_text("utf-8"))
    assert noted["values"] == {"cpu": 0.5}


@pytest.mark.sqlite("the command is given its file")
@pytest.mark.stack
async def test_a_year_asks_the_questions_and_reads_the_receivers_records(
    url: str, boards: Path, tmp_path: Path
) -> None:
    database = await a_database(tmp_path)
    more = ("--config.file", str(EXAMPLE), "--database", str(database), "--dashboards", str(boards))
    text = await asyncio.to_thread(reviewed, url, "annual", tmp_path / "out", *more)
    assert "## Strategy questions" in text
    assert re.search("; Prometheus has data since 2026-0(7-31|8-01)", text)  # to a thousandth of the period
    assert row(text, "HighErrorRate")[1:4] == ["P2", "2", "1"]  # two incidents, and one that nobody acknowledged
    assert "| role cto | has one person only, Peter Schmidt |" in text
    for part in ("Firing alerts", "Thresholds of", "never fired", "Baselines", "Dead panels", "Contacts"):
        assert part in text


@pytest.fixture
async def between(url: str) -> AsyncIterator[str]:
    """A proxy that lets nobody in without the token, and breaks on questions about the temperature."""

    async def forward(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"status": "error", "error": "no entry"}, status=401)
        form = await request.post()
        if "temperature" in str(form.get("query", "")):
            return web.json_response({"status": "error", "error": "query timed out"}, status=503)
        target = f"{url}{request.path_qs}"
        async with aiohttp.ClientSession() as session, session.request(request.method, target, data=form) as answer:
            return web.Response(body=await answer.read(), status=answer.status)

    app = web.Application()
    app.router.add_route("*", "/{way:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.mark.stack
async def test_what_cannot_be_asked_is_in_the_report_and_the_rest_as_well(
    between: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n", "utf-8")
    more = ("--prometheus.bearer-token-file", str(token))
    text = await asyncio.to_thread(reviewed, between, "monthly", tmp_path, *more)
    assert "- Threshold of TooHot: could not be checked (Prometheus refused query_range: query timed out)" in text
    assert "- Threshold of TooCold: could not be checked" in text
    assert row(text, "TooHot")[1] == "5 times"
    assert TOKEN not in text + capsys.readouterr().err
    command = [
        "review",
        "--prometheus.url",
        between,
        "--period",
        "monthly",
        "--until",
        UNTIL,
        "--output",
        str(tmp_path),
    ]
    assert await asyncio.to_thread(main, command) == 1
    assert capsys.readouterr().err == f"receiver: --prometheus.url {between}: Prometheus refused rules: no entry\n"


@pytest.mark.stack
def test_a_time_without_data_is_one_line(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["review", "--prometheus.url", url, "--period", "monthly", "--output", str(tmp_path)]
    assert main([*command, "--until", "2020-01-31"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"receiver: --prometheus.url {url}: no data from 2020-01-01 to 2020-01-31")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "cannot be reached"),
        (["--until", "soon"], "--until 'soon' is no time"),
        (["--prometheus.bearer-token-file", "/none"], "--prometheus.bearer-token-file /none: cannot be read"),
        (["--prometheus.username", "me"], "must be used together"),
        (["--prometheus.url", "localhost:9090"], "invalid --prometheus.url"),
        (["--period", "weekly", "--dashboards", "/none"], "--dashboards /none: no *.json files found"),
    ],
)
def test_a_wrong_question_is_one_line(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["review", "--prometheus.url", f"http://127.0.0.1:{free_port()}", "--period", "monthly"]
    assert main([*command, "--output", str(tmp_path), *options]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


async def test_what_is_no_prometheus_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = web.Application()
    app.router.add_route("*", "/{way:.*}", _page)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    command = [
        "review",
        "--prometheus.url",
        f"http://127.0.0.1:{port}",
        "--period",
        "monthly",
        "--output",
        str(tmp_path),
    ]
    assert await asyncio.to_thread(main, command) == 1
    await runner.cleanup()
    assert "is it Prometheus?" in capsys.readouterr().err


async def _page(_: web.Request) -> web.Response:
    return web.Response(text="<html>hello</html>")
