"""The receiver's metrics about itself: what can be known stands at 0 before it first happens."""

import subprocess
from datetime import timedelta
from itertools import product

import pytest
from prometheus_client import generate_latest

from receiver.incident.model import Incident, Priority, State
from receiver.metrics import Metrics
from receiver.store.base import Backlog, OpenIncident
from tests.receiver.example_site import START

TEAMS = ("default", "backend")


def test_each_team_has_its_answers_and_breaches_at_0_so_that_the_first_is_an_increase() -> None:
    registry = Metrics(["email"], TEAMS).registry
    for priority, team in product(("P1", "P2", "P3", "P4"), TEAMS):
        labels = {"priority": priority, "team": team}
        for sample in (
            "receiver_time_to_acknowledge_seconds_count",
            "receiver_time_to_resolve_seconds_sum",
            "receiver_response_time_breaches_total",
        ):
            assert registry.get_sample_value(sample, labels) == 0, (sample, labels)


def test_the_priorities_of_the_site_are_shown_and_those_that_an_open_incident_still_has() -> None:
    metrics = Metrics(["email"], ["default"], priorities=["P1", "P2", "P3", "P4", "P5"])
    labels = {"priority": "P5", "team": "default"}
    assert metrics.registry.get_sample_value("receiver_response_time_breaches_total", labels) == 0
    four = Metrics(["email"], ["default"])
    assert four.registry.get_sample_value("receiver_response_time_breaches_total", labels) is None
    for counted in (2, 0):  # the file has lost the column since, and the incident ends after that
        open_now = {("triggered", "P5"): counted} if counted else {}
        four.show(Backlog(open_now, {}, {}, {}, {}), START)
        shown = four.registry.get_sample_value("receiver_incidents", {"state": "triggered", "priority": "P5"})
        assert shown == counted


def test_open_incidents_are_listed_with_their_owner_and_leave_with_their_end() -> None:
    metrics = Metrics(["email"], TEAMS)
    name = "receiver_open_incident_opened_timestamp_seconds"
    long = OpenIncident(7, State.ACKNOWLEDGED, Priority.P1, "x" * 5000, "backend", {"alertname": "A"}, START, "linh")
    waiting = OpenIncident(8, State.TRIGGERED, title="Slow", opened_at=START, acknowledged_by="whoever had it before")
    metrics.show(Backlog({}, {}, {}, {}, {}, (long, waiting)), START)
    (family,) = (family for family in metrics.registry.collect() if family.name == name)
    first, second = (sample.labels for sample in family.samples)
    assert (first["owner"], first["title"], first["alertname"]) == ("linh", "x" * 200, "A")
    assert (second["owner"], second["priority"], second["state"]) == ("", "P4", "triggered")
    assert [sample.value for sample in family.samples] == [START.timestamp()] * 2
    metrics.show(Backlog({}, {}, {}, {}, {}), START)
    assert not [sample for one in metrics.registry.collect() if one.name == name for sample in one.samples]


def test_names_that_a_sender_makes_up_are_no_series_without_end() -> None:
    metrics = Metrics(["email"], TEAMS)
    for number in range(1500):
        opened = Incident(
            number, "k", State.TRIGGERED, team="backend", labels={"alertname": f"A{number}"}, opened_at=START
        )
        metrics.watch(Incident(number, "k"), opened)
    name, labels = "receiver_incidents_opened_total", {"priority": "P4", "team": "backend"}
    count = metrics.registry.get_sample_value
    assert [count(name, {**labels, "alertname": one}) for one in ("A0", "other", "A1499")] == [1, 500, None]


@pytest.mark.stack
def test_promtool_has_nothing_to_say_about_the_page() -> None:
    page = generate_latest(Metrics(["email", "slack"], TEAMS).registry)
    done = subprocess.run([".stack/bin/promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")


def test_what_is_past_its_response_time_is_shown_by_how_long() -> None:
    metrics, now = Metrics(["email"]), START + timedelta(minutes=20)
    metrics.show(Backlog({}, {}, {"P1": START, "P2": START + timedelta(hours=1)}, {}, {}), now)
    name = "receiver_incident_unacknowledged_overdue_seconds"
    shown = [metrics.registry.get_sample_value(name, {"priority": one}) for one in ("P1", "P2", "P3")]
    assert shown == [1200.0, 0.0, 0.0]
