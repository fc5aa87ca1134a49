"""What outages do to simulated series: gauges, counters, buckets, targets that are down, and series that are new."""

import math
from pathlib import Path

import pytest

from deploy.simulation.outages.__main__ import main
from deploy.simulation.outages.changes import Change, Outage, Outages, ago, held, plus, shrinking, times
from deploy.simulation.outages.table import OUTAGES
from deploy.simulation.time_axis import DAY, ZONE, Axis

END = 20_000 * DAY - ZONE + 600  # ten past midnight where the school is
START = END - 600 - DAY + 3600  # an hour after the midnight of one day before


def an_outage(*changes: Change, down: tuple[str, ...] = (), gone: tuple[str, ...] = ()) -> Outage:
    return Outage("a", 1, 1.0, 2, ("A",), changes, down=down, gone=gone)


def an_axis(start: int = START - 60, count: int = 5) -> Axis:
    return Axis(1, start, 60, count, [])


def changed(outage: Outage, identity: str, values: list[float]) -> list[float]:
    [(_, shown)] = Outages([outage], END).over(an_axis(), [(identity, values)])
    return list(shown)


def test_an_outage_is_at_an_hour_where_the_school_is() -> None:
    assert an_outage().span(END) == (START, START + 120)


def test_a_gauge_shows_what_the_outage_makes_of_it_and_nothing_else_changes() -> None:
    outage = an_outage(Change("g", ('a="1"',), gauge=held(9)))
    assert changed(outage, 'g{a="1"}', [1, 1, 1, 1, 1]) == [1, 9, 9, 1, 1]
    assert changed(outage, 'g{a="2"}', [1, 1, 1, 1, 1]) == [1, 1, 1, 1, 1]
    assert changed(outage, 'other{a="1"}', [1, 1, 1, 1, 1]) == [1, 1, 1, 1, 1]
    assert changed(an_outage(Change("g", gauge=ago(30))), "g{}", [1] * 5)[1:3] == [START - 30, START - 30]
    assert changed(an_outage(Change("g", gauge=shrinking(1, 50))), "g{}", [100] * 5) == [100, 100, 50, 100, 100]


def test_a_counter_goes_on_from_what_it_has_reached_and_never_falls() -> None:
    assert changed(an_outage(Change("c", counter=plus(0.5))), "c{}", [10, 20, 30, 40, 50]) == [10, 50, 90, 100, 110]
    assert changed(an_outage(Change("c", counter=times(0))), "c{}", [10, 20, 30, 40, 50]) == [10, 10, 10, 20, 30]


def test_a_counter_keeps_over_a_second_axis_what_it_gained() -> None:
    outages = Outages([an_outage(Change("c", counter=plus(0.5)))], END)
    list(outages.over(an_axis(), [("c{}", [10, 20, 30, 40, 50])]))
    [(_, later)] = outages.over(an_axis(START + 240, 2), [("c{}", [60, 70])])
    assert list(later) == [120, 130]


def test_only_the_buckets_up_to_a_bound_stand_still() -> None:
    outage = an_outage(Change("h_bucket", counter=times(0), below=2.5))
    assert changed(outage, 'h_bucket{le="2.5"}', [1, 2, 3, 4, 5]) == [1, 1, 1, 2, 3]
    assert changed(outage, 'h_bucket{le="+Inf"}', [1, 2, 3, 4, 5]) == [1, 2, 3, 4, 5]


def test_a_target_that_is_down_shows_only_that_and_a_job_that_is_gone_nothing() -> None:
    down, gone = an_outage(down=("redis",)), an_outage(gone=("redis",))
    shown = changed(down, 'redis_up{job="redis"}', [1] * 5)
    assert [math.isnan(value) for value in shown] == [False, True, True, False, False]
    assert changed(down, 'up{job="redis"}', [1] * 5) == [1, 0, 0, 1, 1]
    assert changed(down, 'up{job="node"}', [1] * 5) == [1] * 5
    assert math.isnan(changed(gone, 'up{job="redis"}', [1] * 5)[1])


def test_a_series_of_the_outage_alone_is_added_unless_it_is_there() -> None:
    gauge, counter = Change("g", ('a="1"',), gauge=held(9), new=True), Change("c", counter=plus(1), new=True)
    shown = dict(Outages([an_outage(gauge, counter)], END).over(an_axis(), []))
    assert [value for value in shown['g{a="1"}'] if not math.isnan(value)] == [9, 9]
    assert list(shown["c{}"]) == [0, 60, 120, 120, 120]
    assert list(Outages([an_outage(gauge)], END).over(an_axis(), [('g{a="1"}', [1] * 5)])) == [('g{a="1"}', [1] * 5)]
    assert dict(Outages([an_outage(gauge)], END).over(an_axis(START + 3600), [])) == {}


def test_the_outages_of_the_table_have_names_of_their_own_and_change_something() -> None:
    assert len({one.name for one in OUTAGES}) == len(OUTAGES)
    assert [one.name for one in OUTAGES if not (one.changes or one.down or one.gone)] == []
    assert [one.name for one in OUTAGES for change in one.changes if not (change.gauge or change.counter)] == []


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    assert main([str(tmp_path)]) == 1
    assert "expected an empty folder" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").exists()
