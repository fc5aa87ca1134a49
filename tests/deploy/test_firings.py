"""What alerts do over the simulated history: firings are counted, explained by incidents or not, and a day is quiet."""

from pathlib import Path

import pytest

from deploy.simulation.firings import CARRY, Firings, faults, firings, joined, listed, main, table
from deploy.simulation.history import fill
from deploy.simulation.time_axis import Incident

END = 1_795_564_800
PAST = [Incident("cache", 1_000, 2_000), Incident("cache", 90_000, 91_000), Incident("site", 5_000, 6_000)]


def test_samples_a_step_apart_are_one_firing() -> None:
    assert joined([240, 0, 480, 1_200], 240) == [(0, 720), (1_200, 1_440)]
    assert joined([], 240) == []


def test_a_firing_after_an_incident_is_explained_by_it_for_a_while() -> None:
    late = 6_000 + CARRY
    times = [(1_100, 1_900), (late, late + 60), (late + 1, late + 61), (900, 1_000)]
    assert firings("CacheHitRateLow", times, PAST) == Firings("CacheHitRateLow", 4, 1_020, 2, incidents=2, fired_in=1)
    assert firings("RedisDown", [], PAST) == Firings("RedisDown", 0, 0, 0)


def test_a_firing_in_health_and_a_missed_outage_are_faults() -> None:
    alerts = [
        Firings("Watchdog", 1, 9, 1),
        Firings("LowUserRegistrations, below 30", 9, 9, 9),
        Firings("A", 2, 9, 1),
        Firings("B", 1, 9, 0, incidents=3, fired_in=1),
        Firings("C", 0, 0, 0, incidents=3),
    ]
    assert [fault.partition(":")[0] for fault in faults(alerts)] == ["A", "C"]
    assert "| B | 1 | 0.0 | 0 | 1 of 3 |" in table(alerts)
    assert "Did not fire (1): C." in table(alerts)


@pytest.mark.stack
@pytest.mark.slow
def test_a_simulated_day_has_no_firing_without_an_incident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, END, 1, 1, {})
    (tmp_path / "history.json").write_text(f'{{"until": {END}, "days": 1, "seed": 1}}', "utf-8")
    firings_of_alert = {one.alert: one for one in listed(tmp_path)}
    assert firings_of_alert["Watchdog"].count == 1
    assert firings_of_alert["CacheHitRateLow"].fired_in == firings_of_alert["CacheHitRateLow"].incidents == 1
    assert main([str(tmp_path), "--check"]) == 0, capsys.readouterr().err
