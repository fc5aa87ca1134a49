"""What is asked in the name of a dashboard, and what is said of the answers, without a Prometheus."""

import json
from pathlib import Path

import pytest

from grafana.lint.board import Document, parse
from grafana.lint.run import DASHBOARDS
from grafana.queries import quiet
from grafana.queries.__main__ import main
from grafana.queries.plan import Request, Window, duration, requests
from grafana.queries.prometheus import Answer, Labels
from grafana.queries.run import check, load
from grafana.queries.verdict import findings, legend, repeated
from tests.grafana.good import dashboard


def document(**more: object) -> Document:
    return parse("good.json", json.dumps(dashboard() | more))


def answer(key: str, series: list[Labels], name: str = "{{method}}", error: str = "") -> Answer:
    whole = document()
    panel = next((one for one in whole.board.panels if str(one.id) == key.split(maxsplit=1)[0]), None)
    return Answer(Request(whole, key, "range", "up", panel, name), tuple(series), 0.1, error)


@pytest.mark.parametrize(
    ("hours", "pixels", "step", "rate"),
    [(0.25, 1600, 15, 60), (6, 1600, 15, 60), (24, 1600, 60, 75), (24, 800, 120, 135), (168, 1600, 300, 315)],
)
def test_the_step_is_the_one_that_grafana_takes(hours: float, pixels: int, step: float, rate: float) -> None:
    """As rangeUtil.roundInterval and the Prometheus data source of Grafana give it for a scrape interval of 15 s."""
    window = Window(0, hours * 3600, pixels)
    assert (window.step, window.rate_interval) == (step, rate)


def test_lengths_are_written_as_prometheus_reads_them() -> None:
    assert [duration(one) for one in (75, 0.5, 3600)] == ["75s", "500ms", "3600s"]


def test_every_variable_is_filled_in() -> None:
    board = dashboard()
    board["templating"]["list"].append({"name": "home", "type": "constant", "query": "https://x"})
    board["panels"][0]["targets"][0]["expr"] = "a{b=~'${job:regex}', c='$home'}[$__range] $__interval_ms $__range_s"
    asked = {one.key: one for one in requests(parse("good.json", json.dumps(board)), Window(0, 86400))}
    assert asked["1 A"].expr == "a{b=~'.+', c='https://x'}[86400s] 60000 86400"
    assert asked["2 A"].expr.endswith('{job=~".+"}[75s])))')
    assert (asked["variable job"].kind, asked["variable job"].label) == ("values", "job")
    assert asked["annotation Alerts"].kind == "range"
    assert len(asked) == 6


def test_a_hidden_query_is_not_asked() -> None:
    board = dashboard()
    board["panels"][0]["targets"][0]["hide"] = True
    assert "1 A" not in {one.key for one in requests(parse("good.json", json.dumps(board)), Window(0, 900))}


def test_series_are_named_as_grafana_names_them() -> None:
    labels = {"__name__": "up", "job": "node", "instance": "a"}
    assert legend(answer("1 A", [], "{{job}} {{ instance }}{{lost}}").request, labels) == "node a"
    assert legend(answer("1 A", [], "").request, labels) == 'up{instance="a", job="node"}'


def test_one_legend_for_several_series_is_found_across_the_queries_of_a_panel() -> None:
    one, two = answer("1 A", [{"method": "GET"}]), answer("1 B", [{"method": "GET"}, {"method": "PUT"}])
    assert repeated([one, two]) == ["GET"]
    (finding,) = findings([one, two], [], {})
    assert (finding.check, finding.rule) == ("shared-legend", 'Good: panel 1 "How many requests?" query A')


def test_what_fails_and_what_is_empty_is_told_apart() -> None:
    reported = list(findings([answer("1 A", [], error="parse error"), answer("2 A", [])], [], {}))
    assert [(one.check, one.text) for one in reported] == [
        ("failed-query", "parse error"),
        ("empty-answer", "Prometheus has nothing for up"),
    ]


def test_an_empty_answer_is_excused_only_with_a_proof_that_has_data() -> None:
    excuse = quiet.Quiet("*", ["1 A"], why="nothing fires", instead="up")
    proof = answer("up", [{"job": "node"}])
    assert list(findings([answer("1 A", [])], [excuse], {"up": proof})) == []
    for proofs in ({}, {"up": answer("up", [])}, {"up": answer("up", [], error="no")}):
        (finding,) = findings([answer("1 A", [])], [excuse], proofs)
        assert "nothing fires" in finding.text
    assert list(findings([answer("2 A", [])], [excuse], {"up": proof})) != []
    without = quiet.Quiet("*", ["1 A"], unless="there is a calendar")
    assert list(findings([answer("1 A", [])], [without], {})) == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{dashboard: a, keys: [1 A], why: x}", "write either instead, or unless"),
        ("{dashboard: a, keys: [1 A], instead: up, unless: x}", "write either instead, or unless"),
        ("{dashboard: a, keys: [], instead: up}", "keys"),
        ("{dashboard: a, keys: [1 A], insted: up}", "insted"),
    ],
)
def test_a_wrong_entry_of_the_table_is_refused(entry: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "quiet.yml"
    path.write_text(f"quiet:\n  - {entry}\n", "utf-8")
    with pytest.raises(ValueError, match=told):
        quiet.read(path)


def test_the_table_names_what_exists_and_proves_it_by_its_own_metrics() -> None:
    documents = load(sorted(DASHBOARDS.glob("*.json")))
    check([one for whole in documents for one in requests(whole, Window(0, 900))], quiet.read())


def test_no_prometheus_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--prometheus.url", "http://127.0.0.1:1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("http://127.0.0.1:1 does not answer: ")
    assert said.count("\n") == 1
