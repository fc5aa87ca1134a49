"""What alerts do over the simulated history: firings are counted, explained by incidents or not, and a day is quiet."""

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.simulation.firings import (
    CARRY,
    Cause,
    Firings,
    faults,
    firings,
    joined,
    listed,
    table,
    without_outage,
)
from deploy.simulation.monitoring import OPENS
from deploy.simulation.outages.__main__ import fill
from deploy.simulation.outages.table import INCIDENTS, OUTAGES
from deploy.simulation.rule_results import read
from deploy.simulation.time_axis import KINDS

END = 1_795_564_800  # at 7:00 where the school is
# Outages that are moved to the day that is simulated, and how many midnights before its end they are.
TODAY = {"Redis does not answer": 1, "PagerDuty does not answer": 1, "somebody makes himself an administrator": 0}
CACHE = [Cause("cache", start, start + 1_000, ("CacheHitRateLow",), (), each=False) for start in (1_000, 90_000)]


def test_samples_a_step_apart_are_one_firing() -> None:
    assert joined([240, 0, 480, 1_200], 240) == [(0, 720), (1_200, 1_440)]
    assert joined([], 240) == []


def test_a_firing_after_an_outage_is_explained_by_it_for_a_while() -> None:
    late = 6_000 + CARRY
    times = [(1_100, 1_900), (late, late + 60), (late + 1, late + 61), (900, 1_000)]
    why = [*CACHE, Cause("site", 5_000, 6_000, ("SiteUnreachable",), ("CacheHitRateLow",), each=True)]
    assert firings("CacheHitRateLow", times, why) == Firings("CacheHitRateLow", 4, 1_020, 2, own=("cache",))
    assert firings("RedisDown", [], why) == Firings("RedisDown", 0, 0, 0)


def test_an_alert_that_looks_back_for_a_month_is_explained_for_a_month() -> None:
    why = [Cause("site", 0, 600, (), ("UptimeBelowBenchmark", "SLOBurnRateSlow"), each=False)]
    assert firings("UptimeBelowBenchmark", [(29 * 86_400, 30 * 86_400), (31 * 86_400, 32 * 86_400)], why).in_health == 1
    assert firings("SLOBurnRateSlow", [(29 * 86_400, 30 * 86_400)], why).in_health == 1


def test_an_outage_that_does_not_name_an_alert_does_not_explain_it() -> None:
    assert firings("RedisDown", [(1_100, 1_900)], CACHE).in_health == 1


def test_an_outage_of_its_own_must_fire_each_time_and_a_short_incident_once() -> None:
    own = [Cause(name, start, start + 60, ("A",), (), each=True) for name, start in (("one", 0), ("two", 90_000))]
    assert firings("A", [(10, 20)], own).missed == ("two",)
    assert firings("CacheHitRateLow", [(1_100, 1_900)], CACHE).missed == ()
    assert firings("CacheHitRateLow", [], CACHE).missed == ("cache",)


def test_a_firing_in_health_and_a_missed_outage_are_faults() -> None:
    alerts = [
        Firings("Watchdog", 1, 9, 1),
        Firings("LowUserRegistrations, below 30", 9, 9, 9, shipped=False),
        Firings("A", 2, 9, 1),
        Firings("B", 1, 9, 0, own=("one", "two"), missed=("two",)),
        Firings("C", 0, 0, 0, own=("one",)),
        Firings("D", 0, 0, 0),
    ]
    assert [fault.partition(":")[0] for fault in faults(alerts, whole=False)] == ["A", "B"]
    assert [fault.partition(":")[0] for fault in faults(alerts[3:], whole=True)] == ["B", "D"]
    assert "| B | 1 | 0.0 | 0 | one; two (missed) |" in table(alerts)
    assert "Did not fire (2): C, D." in table(alerts)


def test_every_alert_has_an_outage_of_its_own() -> None:
    assert without_outage([rule.name for rule in read()[1]]) == []


def test_an_alert_without_an_outage_and_an_outage_without_an_alert_are_faults() -> None:
    alerts = [rule.name for rule in read()[1]]
    assert [fault.partition(":")[0] for fault in without_outage([*alerts, "New"])] == ["New"]
    gone = [alert for alert in alerts if alert != "RedisDown"]
    assert [fault.partition(":")[0] for fault in without_outage(gone)] == ["RedisDown"]


def test_the_kinds_of_incidents_are_those_that_are_simulated() -> None:
    assert set(INCIDENTS) == set(KINDS)
    assert {alert for _, priority, _, alert, _ in OPENS if priority in {"P1", "P2"}} <= {
        alert for fires, _ in INCIDENTS.values() for alert in fires
    }


@pytest.mark.stack
def test_on_a_simulated_day_each_alert_fires_in_its_own_outage_and_none_in_health(tmp_path: Path) -> None:
    today = [replace(one, day=day) for one in OUTAGES for name, day in TODAY.items() if one.name == name]
    fill(tmp_path, END, 1, 1, today)
    alerts = listed(tmp_path, today)
    assert faults(alerts, whole=False) == []
    fired = {one.alert: one.own for one in alerts if one.count}
    assert fired["CacheHitRateLow"] == ("cache",)
    assert {alert for outage in today for alert in outage.fires} <= set(fired)
