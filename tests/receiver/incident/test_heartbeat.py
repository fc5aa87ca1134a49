"""When a job's heartbeat is missed: only time in which we could have heard it counts."""

from datetime import datetime, timedelta

import pytest

from receiver.incident.heartbeat import Beat, Job, Watch, looked, missed
from tests.receiver.example_site import MINUTE, START

JOB = Job("backup", every=600, grace=60, team="backend", priority="P2", title="The backup has not run")
JOBS = {JOB.name: JOB}


def after(beat: Beat, looks: list[datetime], looked_at: datetime = START) -> Beat:
    """What is known of the job after looks at these moments."""
    watch = Watch({JOB.name: beat}, looked_at)
    for now in looks:
        watch = looked(watch, JOBS, now)
    return watch.beats[JOB.name]


def every_five_seconds(start: datetime, seconds: int) -> list[datetime]:
    return [start + timedelta(seconds=n) for n in range(5, seconds + 1, 5)]


def test_a_job_is_missed_when_its_grace_is_over_and_not_before() -> None:
    heard = Beat(START, START)
    assert after(heard, every_five_seconds(START, 655)).missed_at is None
    found = after(heard, every_five_seconds(START, 700))
    assert found.missed_at == START + 11 * MINUTE


def test_a_job_that_never_reports_is_missed_as_if_it_had_when_it_was_configured() -> None:
    watch = looked(Watch({}), JOBS, START)
    assert watch.beats[JOB.name] == Beat(START)
    for now in every_five_seconds(START, 660):
        watch = looked(watch, JOBS, now)
    assert watch.beats[JOB.name].missed_at is not None
    (alert,) = missed(JOB, watch.beats[JOB.name], START + 11 * MINUTE).group.alerts
    assert "never heard" in alert.annotations["description"]


@pytest.mark.parametrize("away", [timedelta(hours=9), timedelta(days=30)])
def test_time_in_which_we_were_down_does_not_count(away: timedelta) -> None:
    """Ten minutes are left when the receiver stops, and ten when it starts again."""
    last = START + MINUTE
    back = last + away
    found = after(Beat(START, START), [last, back], looked_at=last)
    assert (found.missed_at, found.heard_at) == (None, START)
    assert after(Beat(START, START), [back, *every_five_seconds(back, 595)], last).missed_at is None
    assert after(Beat(START, START), [back, *every_five_seconds(back, 600)], last).missed_at == back + 10 * MINUTE


def test_a_beat_between_the_last_look_and_a_crash_is_followed_by_no_silence() -> None:
    crashed = START + timedelta(seconds=3)
    back = crashed + timedelta(hours=2)
    assert after(Beat(crashed, crashed), [back]).silent_since == back


def test_a_beat_after_the_start_and_before_the_first_look_stands() -> None:
    back = START + timedelta(hours=2)
    heard = back - timedelta(seconds=2)
    assert after(Beat(heard, heard), [back]).silent_since == heard


def test_a_clock_that_was_set_back_while_we_were_down_makes_no_job_late_or_early() -> None:
    back = START - timedelta(hours=5)
    found = after(Beat(START - MINUTE, START - MINUTE), [back], looked_at=START)
    assert found.silent_since == back - MINUTE


def test_a_missed_job_stays_the_same_episode_until_it_reports() -> None:
    """Restarts and the clock move what it is measured by, and not what identifies it: it must not page again."""
    gone = Beat(START, START, missed_at=START + 11 * MINUTE)
    assert after(gone, [START + timedelta(days=1)]).missed_at == gone.missed_at


def test_a_team_or_priority_that_stands_among_the_labels_only_counts() -> None:
    job = Job("backup", 600, 60, labels={"team": "backend", "priority": "P1", "heartbeat": "mine"})
    (alert,) = missed(job, Beat(START, START, START), START).group.alerts
    expected = {"alertname": "HeartbeatMissed", "heartbeat": "backup", "team": "backend", "priority": "P1"}
    assert alert.labels == expected


def test_what_the_incident_is_told() -> None:
    (alert,) = missed(JOB, Beat(START, START, START + 11 * MINUTE), START + 11 * MINUTE).group.alerts
    assert alert.firing
    assert alert.starts_at == START + 11 * MINUTE
    expected = {"alertname": "HeartbeatMissed", "heartbeat": "backup", "team": "backend", "priority": "P2"}
    assert alert.labels == expected
    assert alert.annotations["summary"] == "The backup has not run"
    (over,) = missed(JOB, Beat(START, START), START + 12 * MINUTE).group.alerts
    assert (over.firing, over.ends_at) == (False, START + 12 * MINUTE)
