"""Applies an answer that came from elsewhere to the incident that it is about, and says what became of it."""

import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from functools import partial

from prometheus_client import CollectorRegistry, Counter

from receiver.incident.event import Acknowledge, Resolve
from receiver.incident.machine import transition
from receiver.incident.model import Incident, State
from receiver.incident.policy import Policy
from receiver.store.base import Store

# An agent of another type is an integration (ourselves), a service or PagerDuty's own clock.
PAGERDUTY_PERSON = "user_reference"
_KEY = re.compile(r"heypeter-(\d{1,17})-(\d{1,12})(?:/|$)")


class AnswerResult(StrEnum):
    """What became of an answer: the closed vocabulary of the metric label `outcome`."""

    TAKEN = "taken"
    ALREADY = "already"  # somebody had it, or it was over
    UNKNOWN = "unknown"  # there is no such incident
    IGNORED = "ignored"  # nothing that changes an incident
    REFUSED = "refused"  # a wrong signature or a form that is none


SOURCES = ("slack", "pagerduty", "pagerduty_poll")


class Answers:
    """``take`` is all that the ways in share."""

    def __init__(
        self, store: Store, policy: Policy, clock: Callable[[], datetime], registry: CollectorRegistry
    ) -> None:
        self._store, self._policy, self.clock = store, policy, clock
        text = "Answers that came from elsewhere, by what became of them."
        self._counted = Counter("receiver_answers", text, ["source", "outcome"], registry=registry)
        for source in SOURCES:
            for outcome in AnswerResult:
                self._counted.labels(source, outcome.value)

    def count(self, source: str, outcome: AnswerResult) -> None:
        """Count what became of one."""
        self._counted.labels(source, outcome.value).inc()

    async def take(
        self, source: str, number: int, verb: str, actor: str, origin: str
    ) -> tuple[AnswerResult, Incident | None]:
        """Acknowledge or resolve; StoreError when it could not be made durable."""
        found = await self._store.incident(number)
        if found is None:
            self.count(source, AnswerResult.UNKNOWN)
            return AnswerResult.UNKNOWN, None
        before, now = found[0], self.clock()
        if before.state is State.RESOLVED or (verb == "acknowledge" and before.acknowledged_by == actor):
            self.count(source, AnswerResult.ALREADY)
            return AnswerResult.ALREADY, before
        event = Acknowledge(actor, origin) if verb == "acknowledge" else Resolve(actor, origin)
        after = await self._store.apply(number, partial(transition, event=event, policy=self._policy, now=now), now)
        taken = verb == "resolve" or before.state is State.TRIGGERED
        outcome = AnswerResult.TAKEN if taken else AnswerResult.ALREADY
        self.count(source, outcome)
        return outcome, after

    async def by_key(self, key: str) -> int:
        """Find the incident that a provider's key is of; 0 if it is none of ours."""
        match = _KEY.match(key)
        if match is None:
            return 0
        found = await self._store.incident(int(match[1]))
        if found is None or found[0].opened_at is None:
            return 0
        return int(match[1]) if int(found[0].opened_at.timestamp()) == int(match[2]) else 0


def known_as(slack_ids: dict[str, str], user: str, name: str) -> str:
    """Name the person of a Slack id; one whom nobody has mapped may answer all the same (better than at 3 a.m. not)."""
    return slack_ids.get(user) or f"slack:{user[:20]} ({' '.join(name.split())[:60] or 'unknown'})"
