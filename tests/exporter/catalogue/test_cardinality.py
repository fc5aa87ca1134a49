"""Series cannot explode: closed domains, discovered values up to a cap, a cap of each family; attacks cost nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalogue.label_values import Label, LabelValues
from exporter.catalogue.model import Limits, build
from exporter.catalogue.route_templates import guess
from exporter.config import Config, Limit, load
from exporter.events.decode import Decoder, Schema
from exporter.registry.recorder import Recorder
from exporter.self_metrics import OWN
from process.settings import SettingsError
from tests.exporter.example_exporter import (
    EXAMPLE,
    TOKEN,
    Time,
    a_config,
    an_application,
    an_exporter,
    settings,
    the_example,
    value,
)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/users/123", "/users/[id]"),
        ("/users/123/edit?x=1#y", "/users/[id]/edit"),
        ("https://a.example/orders/550e8400-e29b-41d4-a716-446655440000", "/orders/[id]"),
        ("/reset/9f86d081884c7d659a2feaa0c55ad015", "/reset/[id]"),
        ("/lessons/2026-11-23", "/lessons/[id]"),
        ("/share/a8F3kL9xQz7RtYp2WsVb4NmC", "/share/[id]"),
        ("/a/b%20c", None),
        ("/anna@example.com", None),
        ("/<script>", None),
        ("/%2e%2e/etc/passwd%00", None),
        ("/" + "a/" * 20, None),
        ("/" + "word" * 20, "/[id]"),
        ("", "/"),
        ("http://[bad", None),
    ],
)
def test_a_guess_holds_nothing_that_may_be_a_value(path: str, template: str | None) -> None:
    assert guess(path) == template


@given(st.text(max_size=100))
def test_a_guess_is_short_and_plain(path: str) -> None:
    template = guess(path)
    assert template is None or (len(template) <= 330 and template.isprintable() and guess(template) == template)


def test_values_are_discovered_up_to_the_cap_and_the_rest_is_other() -> None:
    discovered: dict[str, None] = {}
    label_value = LabelValues(
        Label("route", "route", "route", ("/", "/courses/[id]"), "routes", 2, paths=True), discovered
    )
    assert label_value("/courses/42") == ("/courses/[id]", False)
    assert label_value("/users/1") == ("/users/[id]", False)
    assert label_value("/about") == ("/about", False)
    assert label_value("/blog") == ("other", True)
    assert label_value("/users/2") == ("/users/[id]", False)
    assert label_value("") == label_value(None) == ("other", False)
    assert list(discovered) == ["/users/[id]", "/about"]


def test_a_label_that_overflows_is_the_only_one_that_is_folded() -> None:
    catalogue = the_example()[1]
    schema = Schema(catalogue)
    recorder = Recorder(catalogue, schema, b"key")
    event = {
        "type": "db_query",
        "data": {"operation": "select", "table": "nobody's", "outcome": "success", "duration": 1},
    }
    recorder.record(Decoder(schema.private(), 10).decode(json.dumps(event).encode()).events, "events", 1.0)
    assert list(recorder.series["db_queries_total"].cells) == [("select", "other", "success")]
    overflow = recorder.series["exporter_label_overflow_total"].cells
    assert {labels[0]: cell.value for labels, cell in overflow.items() if cell.value} == {"table": 3}


def test_a_family_at_its_cap_folds_open_labels_first_and_then_all() -> None:
    catalogue = build(settings(), Limits({"routes": ("/a", "/b", "/c")}, {}, family=3), OWN)
    (family,) = (family for family in catalogue.families if family.name == "http_requests_total")
    assert family.worst_case == 4
    schema = Schema(catalogue)
    recorder = Recorder(catalogue, schema, b"key")
    for route, method in (("/a", "GET"), ("/x", "GET"), ("/b", "GET"), ("/c", "GET"), ("/c", "PUT"), ("/b", "PUT")):
        data = {"method": method, "route": route, "status": 200, "duration": 1}
        body = json.dumps({"type": "http_request", "data": data}).encode()
        recorder.record(Decoder(schema.private(), 10).decode(body).events, "events", 1.0)
    cells = {labels: cell.value for labels, cell in recorder.series["http_requests_total"].cells.items()}
    assert cells == {("GET", "/a", "200"): 1, ("GET", "other", "200"): 2, ("GET", "/b", "200"): 1, ("other",) * 3: 2}


def test_a_hundred_thousand_invented_values_cost_no_memory() -> None:
    """`make bench` does it with a million."""
    command = [sys.executable, "-m", "bench.attack", "100000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["kilobytes"] < 2048
    assert measured["series"] < 2000


async def test_overflow_and_limits_are_metrics() -> None:
    exporter = an_exporter(Time(), a_config(first_increment_hold=0))
    async with TestClient(TestServer(an_application(exporter))) as client:
        events = [{"type": "cache_request", "data": {"cache": f"c{n}", "result": "hit"}} for n in range(20)]
        await client.post("/api/events", json=events, headers=TOKEN)
        assert await value(client, "cache_requests_total", cache="other", result="hit") == 20
        assert await value(client, "exporter_label_overflow_total", label="cache") == 20
        assert await value(client, "exporter_series", family="cache_requests_total") == 12
        assert await value(client, "exporter_series_limit", family="cache_requests_total") == 12


def test_a_configuration_that_allows_too_much_is_refused(tmp_path: Path) -> None:
    config = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    config["limits"]["series"] = 5000
    path = tmp_path / "exporter.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    with pytest.raises(SettingsError, match=r"exporter.yml:\d+: limits.series: the lists allow \d+ lines"):
        load(path)


def test_what_may_be_discovered_counts_for_the_worst_case() -> None:
    def worst(config: Config) -> int:
        return build(settings(), Limits(config.lists, config.discover, Limit().family_series), OWN).worst_case

    assert worst(Config(discover={"pages": 10})) > worst(Config()) + 500
