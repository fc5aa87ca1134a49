"""Acknowledges and resolves for people: the one funnel behind the API, links, Slack and PagerDuty."""

import re
from collections.abc import Callable, Container
from datetime import datetime
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter

from receiver.channels.base import read_umbrella_key
from receiver.incident.event import Acknowledge, Resolve
from receiver.incident.machine import transition
from receiver.incident.model import Decision, Incident, Origin, Priority, State
from receiver.policy.current import Current
from receiver.store.base import Store

_KEY = re.compile(r"heypeter-(\d{1,17})-(\d{1,12})(?:/|$)")


class Action(StrEnum):
    """What a person may do to an incident."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


class ActionSource(StrEnum):
    """Where an action came from: the metric label `source`."""

    API = "api"
    LINK = "link"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    PAGERDUTY_POLL = "pagerduty_poll"


class ActionResult(StrEnum):
    """What became of an action: the metric label `outcome`."""

    TAKEN = "taken"
    ALREADY = "already"  # somebody had acknowledged it, or it was resolved
    UNKNOWN = "unknown"  # no such incident
    IGNORED = "ignored"  # nothing that changes an incident
    REFUSED = "refused"  # a wrong signature, or not a request of that source


_ORIGINS = {
    ActionSource.API: Origin.API,
    ActionSource.LINK: Origin.LINK,
    ActionSource.SLACK: Origin.SLACK,
    ActionSource.PAGERDUTY: Origin.PAGERDUTY,
    ActionSource.PAGERDUTY_POLL: Origin.PAGERDUTY,
}
_EVENTS: dict[Action, type[Acknowledge | Resolve]] = {Action.ACKNOWLEDGE: Acknowledge, Action.RESOLVE: Resolve}


class Actions:
    """Applies what people do, and counts what became of it."""

    def __init__(
        self, store: Store, current: Current, clock: Callable[[], datetime], registry: CollectorRegistry
    ) -> None:
        self._store, self._current, self.clock = store, current, clock
        text = "Answers of people, by where they came from and what became of them."
        self._counter = Counter("receiver_answers", text, ["source", "outcome"], registry=registry)
        for source in ActionSource:
            for result in ActionResult:
                self._counter.labels(source.value, result.value)

    def count(self, source: ActionSource, result: ActionResult) -> None:
        """Count what became of one action."""
        self._counter.labels(source.value, result.value).inc()

    async def apply(
        self, source: ActionSource, number: int, action: Action, actor: str
    ) -> tuple[ActionResult, Incident | None]:
        """Acknowledge or resolve incident ``number``; StoreError if it could not be made durable.

        An ``actor`` that means one configured person is recorded by that person's key. The incident comes back as it
        is afterwards. ALREADY also stands for a resolve after the resolve and for an acknowledgement by somebody else,
        which are noted in the timeline.
        """
        now, result = self.clock(), ActionResult.UNKNOWN
        event = _EVENTS[action](self._current.routing.directory.key(actor) or actor, _ORIGINS[source])

        def decide(before: Incident) -> Decision:
            nonlocal result
            decision = transition(before, event, self._current.routing, now)
            after = decision.incident
            renewed = after.clocks.acknowledged_until != before.clocks.acknowledged_until
            changed = after.state is not before.state or renewed
            result = ActionResult.TAKEN if changed else ActionResult.ALREADY
            return decision

        incident = await self._store.apply(number, decide, now)
        self.count(source, result)
        return result, incident

    async def apply_to_key(
        self, source: ActionSource, key: str, action: Action, actor: str, only: Container[int] | None = None
    ) -> int:
        """Do to every incident behind a provider's key what somebody has done there; gives how many were ours.

        The key of an umbrella stands for its members: those that still wait for it, and are no P1, which has its own.
        ``only`` names those that may be concerned.
        """
        count = 0
        for number in await self.find_all(key):
            stored = await self._store.incident(number)
            concerned = read_umbrella_key(key) is None or (stored and _waits(stored[0], action))
            if concerned and (only is None or number in only):
                await self.apply(source, number, action, actor)
                count += 1
        return count

    async def find_all(self, key: str) -> tuple[int, ...]:
        """Give the numbers of the incidents that a provider's dedup key stands for."""
        umbrella = read_umbrella_key(key)
        if umbrella is None:
            number = await self.find(key)
            return (number,) if number else ()
        installation, number = umbrella
        return await self._store.umbrella(number) if installation == await self._store.installation() else ()

    def name_of(self, person: str) -> str:
        """Give the display name of a person."""
        return self._current.routing.directory.name(person)

    async def find(self, key: str) -> int:
        """Give the number of the incident that a provider's dedup key belongs to; 0 if it is not one of ours."""
        match = _KEY.match(key)
        if match is None:
            return 0
        stored = await self._store.incident(int(match[1]))
        opened_at = stored[0].opened_at if stored else None
        # The number alone could be of another database: the receiver may have begun a new one.
        return int(match[1]) if opened_at and int(opened_at.timestamp()) == int(match[2]) else 0


def _waits(incident: Incident, action: Action) -> bool:
    over = {State.RESOLVED} if action is Action.RESOLVE else {State.RESOLVED, State.ACKNOWLEDGED}
    return incident.priority is not Priority.P1 and incident.state not in over
