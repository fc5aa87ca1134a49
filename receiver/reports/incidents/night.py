"""Says whether a time is night where a person lives: what a page costs."""

from datetime import datetime
from zoneinfo import ZoneInfo

from receiver.policy.routing import Routing
from receiver.reports.incidents.statistics import Night

NIGHT = (22, 7)  # o'clock


def night_of(routing: Routing) -> Night:
    """Say of a time whether it is night where a person lives."""
    zones = {key: ZoneInfo(person.zone) for key, person in routing.people.items()}

    def night(at: datetime, person: str) -> bool:
        hour = at.astimezone(zones[person]).hour if person in zones else at.hour
        return hour >= NIGHT[0] or hour < NIGHT[1]

    return night
