"""Every query of every dashboard on a real Prometheus of a living school: none fails, none is empty, legends differ."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from grafana.lint.board import Document, parse
from grafana.lint.run import DASHBOARDS
from grafana.queries import quiet
from grafana.queries.__main__ import main
from grafana.queries.compare import difference
from grafana.queries.plan import Window, requests
from grafana.queries.run import RunResult, load, run
from grafana.queries.run import asked as asked_of
from tests.grafana.good import P95, REQUESTS, dashboard, target
from tests.stories.complete import Complete, complete
from tests.stories.stack import PATIENCE
from tests.stories.stores import PROGRAMS
from tests.stories.victoria import SKIPPED, there

pytestmark = [
    pytest.mark.stack,
    pytest.mark.story,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not PROGRAMS.exists(), reason="no PostgreSQL, Redis and nginx: see `make servers`"),
]
# What even this school has nothing of: no calendar, no gap on call, one exporter, and it began minutes ago.
NEVER = {"66 A", "28 A", "228 A", "42 B", "5 B", "22 A", "23 A", "24 A"}
# What depends on the moment: an alert, an incident, a deployment, findings, an open request.
SOMETIMES = {"6 A", "7 A", "10 A", "11 A", "41 A", "63 A", "annotation Incidents", "annotation Deployments"}
EXTERNAL = ("cluster", "env")
ON_A_DISK = {"146 A", "147 A", "148 A", "152 A"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Complete]:
    async with complete(tmp_path_factory.mktemp("school")) as running:
        yield running


async def asked(school: Complete, documents: list[Document], entries: list[quiet.Quiet]) -> RunResult:
    now = time.time()
    return await run(school.url("prometheus"), documents, Window(now - 900, now, scrape=15), entries)


async def test_every_query_gives_data_and_every_line_has_its_own_name(school: Complete) -> None:
    documents, entries = load(sorted(DASHBOARDS.glob("*.json"))), quiet.read()
    allowed = NEVER | SOMETIMES | (ON_A_DISK if school.no_disk else set())
    deadline = time.monotonic() + PATIENCE
    while True:  # a recorded series is there a few evaluations after what it is recorded from
        outcome = await asked(school, documents, entries)
        empty = {one.request.key for one in outcome.answers if not one.series and not one.request.optional}
        if (not outcome.findings and empty <= allowed) or time.monotonic() > deadline:
            break
        await asyncio.sleep(1)
    assert "".join(one.plain for one in outcome.findings) == ""
    assert empty <= allowed
    assert len(outcome.answers) > 250


@pytest.mark.skipif(not there(), reason=SKIPPED)
async def test_a_long_term_store_gives_the_same_answers(school: Complete) -> None:
    """Prometheus writes to VictoriaMetrics as deploy/long-term says, and every dashboard may read from either."""
    documents, deadline = load(sorted(DASHBOARDS.glob("*.json"))), time.monotonic() + school.patience
    while True:  # what was written arrives seconds later, and not all at once
        end = (time.time() - 8) // 15 * 15
        window = Window(end - 60, end, scrape=15)
        wanted = [one for each in documents for one in requests(each, window) if one.label not in EXTERNAL]
        ours, theirs = [await asked_of(school.url(name), wanted, window) for name in ("prometheus", "victoria")]
        found = [difference(*pair, EXTERNAL) for pair in zip(ours, theirs, strict=True)]
        filled = sum(bool(one.series) for one in theirs)
        if (not any(found) and filled > 250) or time.monotonic() > deadline:
            break
        await asyncio.sleep(1)
    assert [str(one) for one in found if one] == []
    assert filled > 250
    labels = [one["metric"] for one in await school.instant("up", "victoria")]
    assert {(one["cluster"], one["env"], "replica" in one) for one in labels} == {("school", "production", False)}


async def test_what_is_wrong_with_a_query_is_told_with_its_panel(school: Complete) -> None:
    board = dashboard()
    first, second, third, _ = (panel["targets"] for panel in board["panels"])
    first[0]["expr"] = REQUESTS.replace('job=~"$job"', 'job=~"$job", method="PURGE"')  # parses, and finds nothing
    second.append(target(P95.replace("(le)", "(le, route)"), "of each route", "B"))
    third[0]["expr"] = 'label_replace(up, "x", "same", "", "") + on (x) label_replace(up, "x", "same", "", "")'
    board["templating"]["list"][1]["query"] = 'label_values(http_requests_total{method="PURGE"}, job)'
    board["annotations"]["list"] = []
    document = parse("good.json", json.dumps(board, indent=2))
    told = {(one.check, one.rule): one.text for one in (await asked(school, [document], [])).findings}
    answers, failures = 'Good: panel 2 "How long does an answer take?"', 'Good: panel 3 "How many fail?"'
    assert set(told) == {
        ("empty-answer", 'Good: panel 1 "How many requests?" query A'),
        ("empty-answer", "Good: variable job"),
        ("shared-legend", f"{answers} query A"),
        ("failed-query", f"{failures} query A"),
    }
    assert told["shared-legend", f"{answers} query A"] == 'several series are called "of each route"'
    assert "many-to-many" in told["failed-query", f"{failures} query A"]


async def test_an_excuse_must_be_proved(school: Complete) -> None:
    board = dashboard()
    board["panels"][0]["targets"][0]["expr"] = 'http_requests_total{method="PURGE"}'
    document = parse("good.json", json.dumps(board, indent=2))
    excuse = quiet.Quiet("heypeter-good", ["1 A"], why="nobody purges", instead="sum(http_requests_total)")
    assert (await asked(school, [document], [excuse])).findings == []
    empty = quiet.Quiet("heypeter-good", ["1 A"], why="nobody purges", instead='http_requests_total{method="PURGES"}')
    (finding,) = (await asked(school, [document], [empty])).findings
    assert "is empty too" in finding.text
    for wrong, told in (
        (quiet.Quiet("heypeter-good", ["1 B"], why="x", instead="up"), "has no query 1 B"),
        (quiet.Quiet("heypeter-good", ["1 A"], why="x", instead="up"), "it proves nothing"),
    ):
        with pytest.raises(ValueError, match=told):
            await asked(school, [document], [wrong])


async def test_the_command_prints_a_table_and_says_what_is_wrong(
    school: Complete, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = dashboard()
    board["panels"][0]["targets"][0]["expr"] = 'http_requests_total{method="PURGE"}'
    path = tmp_path / "good.json"
    path.write_text(json.dumps(board, indent=2), "utf-8")
    words = ["--prometheus.url", school.url("prometheus"), "--range", "15m", str(path)]
    assert await asyncio.to_thread(main, words) == 1
    said = capsys.readouterr().out
    assert "DASHBOARD" in said
    assert 'heypeter-good         panel 2 "How long does an answer take?" query A' in said
    assert f'{path}:11: Good: panel 1 "How many requests?" query A: empty-answer: ' in said
    assert len(list(requests(load([path])[0], Window(0, 900)))) == 6
