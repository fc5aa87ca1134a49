"""The jobs that report here by heartbeats, and what becomes of it when one does not."""

from typing import Annotated

import msgspec

from process.addresses import is_http
from process.settings import Duration, Findings, Source, Strict
from receiver.config.people import TeamSettings
from receiver.incident.heartbeat import Job
from receiver.incident.model import Priority

SHORTEST = 10.0  # seconds between two beats; the receiver looks every five
JobName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$", examples=["nightly-backup"])]
LabelName = Annotated[str, msgspec.Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_]{0,79}$")]


class JobHeartbeat(Strict, frozen=True, kw_only=True):
    """One job: how often it reports to /heartbeat/<name>, and the incident that its absence is."""

    every: Duration
    """How often the job reports; at least 10s"""
    grace: Duration = Duration(300)
    """How late it may be"""
    team: str = ""
    """Label `team` of the alert"""
    priority: Priority | None = None
    """Priority of the incident; `unknown_severity`, if unset"""
    title: str = ""
    """Summary of the alert"""
    runbook: str = ""
    """URL of the runbook"""
    labels: dict[LabelName, str] = {}
    """Further labels of the alert"""


def jobs(settings: dict[str, JobHeartbeat]) -> dict[str, Job]:
    """Give the jobs by name."""
    return {
        name: Job(
            name=name,
            every=float(one.every),
            grace=float(one.grace),
            team=one.team,
            priority=one.priority.value if one.priority else "",
            title=one.title,
            runbook=one.runbook,
            labels=one.labels,
        )
        for name, one in settings.items()
    }


def check_heartbeats(
    settings: dict[str, JobHeartbeat], teams: dict[str, TeamSettings], source: Source, findings: Findings
) -> None:
    """Find what cannot be as it is written."""
    for name, one in settings.items():
        at = f".heartbeats.{name}"
        if one.every < SHORTEST:
            findings.add(source.error(f"{at}.every", f"too short (at least {SHORTEST:g}s)"))
        if one.team and one.team not in teams:
            findings.add(source.error(f"{at}.team", f"unknown team {one.team!r}; add it to `teams`"))
        if one.runbook and not is_http(one.runbook):
            findings.add(source.error(f"{at}.runbook", "invalid URL (expected e.g. https://wiki.example.com/backup)"))
