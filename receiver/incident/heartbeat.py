"""Decides when a job's heartbeat is missed, and writes the alert that its absence is. Pure.

A job is expected again ``every`` seconds after its last beat, and missed ``grace`` seconds later. Only time in which we
could have heard it counts: while we were down or suspended, and while somebody set the clock, no job was silent.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from receiver.incident.event import AlertsReceived
from receiver.incident.model import UNKNOWN_START, Alert, AlertGroup

ALERT = "HeartbeatMissed"  # the name of the alert
AWAY = timedelta(seconds=30)  # between two looks; the loop looks every five seconds


class Job(msgspec.Struct, frozen=True):
    """A job that reports regularly; ``every`` and ``grace`` are in seconds. What is "" is decided as for any alert."""

    name: str
    every: float
    grace: float
    team: str = ""
    priority: str = ""
    title: str = ""
    runbook: str = ""
    labels: dict[str, str] = {}  # msgspec copies a mutable default

    @property
    def patience(self) -> timedelta:
        """How long it may be silent."""
        return timedelta(seconds=self.every + self.grace)


class Beat(msgspec.Struct, frozen=True):
    """What is known of one job. ``heard_at`` is its last beat, None if it has never come.

    ``silent_since`` is that moment, or when it was first configured, moved along with time that does not count.
    ``missed_at`` is when it was found missing; it stays until the next beat and is never moved, since it identifies the
    episode.
    """

    silent_since: datetime
    heard_at: datetime | None = None
    missed_at: datetime | None = None


class Watch(msgspec.Struct, frozen=True):
    """What a store keeps of all jobs: their beats by name, and when we last looked."""

    beats: dict[str, Beat]
    looked_at: datetime | None = None


def looked(watch: Watch, jobs: Mapping[str, Job], now: datetime) -> Watch:
    """Give what is to be kept after a look at ``now``: who is missed by now, and who is expected from now on.

    A job that has never been heard is expected as if it had beaten when it was first configured.
    """
    beats = {name: _counted(beat, watch.looked_at or now, now) for name, beat in watch.beats.items()}
    beats |= {name: Beat(now) for name in jobs if name not in beats}
    for name, job in jobs.items():
        beat = beats[name]
        if beat.missed_at is None and now - beat.silent_since >= job.patience:
            beats[name] = msgspec.structs.replace(beat, missed_at=now)
    return Watch(beats, now)


def _counted(beat: Beat, looked_at: datetime, now: datetime) -> Beat:
    """Leave out the time since the last look, or the beat after it, if we were away or the clock was set back."""
    gap = now - max(looked_at, beat.silent_since)
    if timedelta(0) <= gap <= AWAY:
        return beat
    return msgspec.structs.replace(beat, silent_since=beat.silent_since + gap)


def missed(job: Job, beat: Beat, now: datetime) -> AlertsReceived:
    """Write what is told to the incident of a job: that it is missing, or that it is heard (again)."""
    firing = beat.missed_at is not None
    own = {"alertname": ALERT, "heartbeat": job.name, "team": job.team, "priority": job.priority}
    alert = Alert(
        fingerprint=f"heartbeat-{job.name}",
        firing=firing,
        starts_at=beat.missed_at or UNKNOWN_START,
        ends_at=None if firing else now,
        labels={name: value for name, value in [*job.labels.items(), *own.items()] if value},
        annotations=_annotations(job, beat),
    )
    return AlertsReceived(AlertGroup(key(job.name), (alert,)))


def key(name: str) -> str:
    """Give the key of the incidents of one job."""
    return f"receiver|heartbeat/{name}"


def _annotations(job: Job, beat: Beat) -> dict[str, str]:
    last = f"last heard at {beat.heard_at:%Y-%m-%d %H:%M:%S} UTC" if beat.heard_at else "never heard"
    expected = f"expected every {timedelta(seconds=job.every)}, with {timedelta(seconds=job.grace)} of grace"
    told = {
        "summary": job.title or f"{job.name} has not reported",
        "description": f"The heartbeat of {job.name} was {last}; it is {expected}. The job has stopped or hangs, or "
        "cannot reach the receiver.",
        "runbook_url": job.runbook,
    }
    return {name: text for name, text in told.items() if text}
