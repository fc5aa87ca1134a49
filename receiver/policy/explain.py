"""Plays one alert that nobody answers, by the functions that the receiver runs: who would be told, and when. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta

from receiver.incident.delivery import Handling
from receiver.incident.event import AlertsReceived
from receiver.incident.model import Alert, AlertGroup, Incident
from receiver.policy.routing import Routing
from receiver.policy.simulate import Simulation, Story

HORIZON = timedelta(days=60)  # of a plan whose last step is never due, or is due later than anybody cares
_MOST_CLOCKS = 1000  # that run to their time before the last step


def explain(
    routing: Routing,
    labels: dict[str, str],
    start: datetime,
    handling: Callable[[str], Handling] = lambda _channel: Handling(),
) -> Story:
    """Play an alert that fires and that nobody answers, to the last step and the end of the response time."""
    alert = Alert("explained", True, start, None, labels, {})  # noqa: FBT003  # it fires
    group = AlertGroup("explained", (alert,), receiver="explain", labels=labels)
    simulation = Simulation(routing, start, handling=handling)
    simulation.play(start, AlertsReceived(group))
    for _ in range(_MOST_CLOCKS):
        incident = simulation.story().incident
        if _is_told_whole(incident) or incident.wake_at is None or incident.wake_at > start + HORIZON:
            break
        simulation.run(incident.wake_at)
    return simulation.story()


def _is_told_whole(incident: Incident) -> bool:
    """Say whether every step is taken and the response time is over: what comes then is repeated for ever."""
    return incident.next_step >= len(incident.plan.steps) and incident.clocks.answer_due_at is None
