"""The loops that post every change of an incident to programs of others, signed, each hook in the order of changes.

A hook keeps its place in the timelines, which is stored: a change is written in the transaction that makes it, so none
is lost with the process, and what is posted twice carries the same `webhook-id`. As channels/webhook.py does, they sign
by the Standard Webhooks specification.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

import aiohttp
import msgspec
import standardwebhooks
from prometheus_client import CollectorRegistry, Counter, Gauge

from process.settings import Secret
from receiver.channels.base import SendError
from receiver.channels.http_call import failure, post
from receiver.incident.model import EntryKind, Incident
from receiver.messages.i18n import Reader
from receiver.messages.timeline import entry_text
from receiver.store.hooks import HookStore, Line

log = logging.getLogger(__name__)

VERSION = 1  # of the body; it rises when a reader of the one before could be misled
PERIOD = 0.1  # seconds between two rounds, each of which waits for a change
_BATCH = 50  # changes until the place is stored: so many may be posted again after a crash
_UNSEEN = 1000  # lines that nobody wants until the place is stored all the same
_IDLE = 30.0  # seconds, for changes that another process of the same database has made
_FIRST, _LONGEST = timedelta(seconds=5), timedelta(minutes=5)  # between two attempts
_TEXTS = ("title", "team", "acknowledged_by", "resolved_by", "raised_by")


class Outcome(StrEnum):
    """What became of a change; a label of a metric."""

    SENT = "sent"
    FAILED = "failed"  # an attempt: it is made again
    SKIPPED = "skipped"  # too old, and the hook does not answer


class Hook(msgspec.Struct, frozen=True):
    """One hook: which changes go where, the keys that sign them, and how old they may become."""

    name: str
    url: Secret
    keys: tuple[bytes, ...]
    kinds: frozenset[EntryKind]
    timeout: float
    skip_after: timedelta


class HookMetrics:
    """Counts what was posted, and says how late each hook is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        text = "Changes of incidents posted to event webhooks, by outcome."
        self._outcomes = Counter("receiver_event_webhook_posts", text, ["hook", "outcome"], registry=registry)
        text = "Age of the oldest change that an event webhook has not taken; 0 if there is none."
        self._age = Gauge("receiver_event_webhook_oldest_age_seconds", text, ["hook"], registry=registry)

    def expect(self, hook: str) -> None:
        """Begin at 0."""
        for outcome in Outcome:
            self._outcomes.labels(hook, outcome.value)
        self._age.labels(hook).set(0)

    def count(self, hook: str, outcome: Outcome, by: int = 1) -> None:
        """Count."""
        self._outcomes.labels(hook, outcome.value).inc(by)

    def late(self, hook: str, age: timedelta) -> None:
        """Say how old the oldest is."""
        self._age.labels(hook).set(max(0.0, age.total_seconds()))


class EventWebhook:
    """``run_once`` waits for a change and posts what is due; ``wake`` ends the waiting.

    ``external_url`` is where people find an incident, ``name_of`` gives the name of a person, ``term`` is the store's:
    only who leads posts, and it begins where the one before it has stopped.
    """

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        hook: Hook,
        store: HookStore,
        session: aiohttp.ClientSession,
        clock: Callable[[], datetime],
        metrics: HookMetrics,
        *,
        external_url: str,
        installation: int,
        name_of: Callable[[str], str],
        term: Callable[[], int | None] = lambda: 1,
    ) -> None:
        self._hook, self._store, self._session, self._clock, self._metrics = hook, store, session, clock, metrics
        self._url, self._installation, self._reader = external_url.rstrip("/"), installation, Reader(name_of=name_of)
        self._leads, self._term = term, None  # type: Callable[[], int | None], int | None
        self._place: int | None = None  # up to which everything was posted, or is not wanted
        self._stored = 0
        self._failures, self._not_before = 0, None  # type: int, datetime | None
        self._spent = timedelta(0)  # each failed attempt in a row uses up the delay that follows it
        self._changed = asyncio.Event()
        metrics.expect(hook.name)

    async def begin(self) -> None:
        """Hear of what happens from now on, or go on; StoreError as ``run_once``, which does it then."""
        if self._is_new_term():
            self._place, self._failures, self._not_before, self._spent = None, 0, None, timedelta(0)
        if self._place is None:
            self._place = self._stored = await self._store.place(self._hook.name)
            self._changed.set()

    def wake(self) -> None:
        """Something has changed."""
        self._changed.set()

    def _is_new_term(self) -> bool:
        """Say whether it leads anew: what it knows may be out of date, for another has posted meanwhile."""
        term = self._leads()
        is_new = term is not None and term != self._term
        if is_new:
            self._term = term
        return is_new

    async def rest(self) -> None:
        """Say nothing of how late it is while another receiver posts."""
        self._metrics.late(self._hook.name, timedelta(0))

    async def run_once(self) -> None:
        """Wait, then post; StoreError if the place cannot be read or stored."""
        if self._leads() == self._term:
            await self._wait()
        self._changed.clear()
        while await self.post_next():
            pass

    async def _wait(self) -> None:
        if self._not_before is not None:
            left = min(self._not_before - self._clock(), _LONGEST)  # whatever somebody sets the clock to
            await asyncio.sleep(max(0.0, left.total_seconds()))
            self._not_before = None
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _IDLE)

    async def post_next(self) -> bool:
        """Post some of what is due; False if nothing is left, or it does not work now."""
        await self.begin()
        before = self._place or 0
        lines, looked_at = await self._store.lines(before, self._hook.kinds, _BATCH)
        for line in lines:
            if self._leads() != self._term:
                return False  # another goes on where this one has stored that it stopped, or again with what it has not
            if not await self._post(line):
                await self._keep_place()
                return False
            self._place = line.seq
        self._place = looked_at
        if lines or self._place - self._stored >= _UNSEEN:
            await self._keep_place()
        return self._place > before

    async def _keep_place(self) -> None:
        if self._place is not None and self._place != self._stored:
            await self._store.move(self._hook.name, self._place)
            self._stored = self._place

    async def _post(self, line: Line) -> bool:
        """Say whether the hook has taken it."""
        who, now = f"the event webhook {self._hook.name!r}", self._clock()
        identity, body = self._identity(line), self._body(line)
        headers = {
            "webhook-id": identity,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(
                standardwebhooks.Webhook(key).sign(identity, now, body.decode()) for key in self._hook.keys
            ),
        }
        try:
            answer = await post(self._session, who, self._hook.url, body, headers, self._hook.timeout)
            if not 200 <= answer.status < 300:  # noqa: PLR2004  # the specification: "2xx is success"
                raise failure(f"{who} answered {answer.status}", answer.status, answer.retry_after)
        except SendError as error:
            await self._failed(line, error)
            return False
        if self._failures:
            log.info("%s works again", who)
        self._failures, self._not_before, self._spent = 0, None, timedelta(0)
        self._metrics.count(self._hook.name, Outcome.SENT)
        self._metrics.late(self._hook.name, timedelta(0))
        return True

    async def _failed(self, line: Line, error: SendError) -> None:
        """Try again later, and leave out what has become too old while it was tried: a downtime of ours is no trial."""
        if not self._failures:
            log.warning("%s; it is tried again, and nothing is lost for %s", error, self._hook.skip_after)
        now, hook = self._clock(), self._hook
        wait = timedelta(seconds=error.retry_after) if error.retry_after else _FIRST * 2 ** min(self._failures, 10)
        wait = min(wait, _LONGEST)
        self._failures, self._not_before, self._spent = self._failures + 1, now + wait, self._spent + wait
        self._metrics.count(hook.name, Outcome.FAILED)
        self._metrics.late(hook.name, now - line.entry.at)
        skipped = await self._skip(now - hook.skip_after) if self._spent > hook.skip_after else 0
        if skipped:
            self._metrics.count(hook.name, Outcome.SKIPPED, skipped)
            log.error("event webhook %r: %d changes are too old by now and are left out", hook.name, skipped)

    async def _skip(self, before: datetime) -> int:
        skipped = 0
        while self._place is not None:
            count, last = await self._store.count_before(self._place, self._hook.kinds, before)
            if last == self._place:
                break
            skipped, self._place = skipped + count, last
        return skipped

    def _identity(self, line: Line) -> str:
        return f"evt_{self._installation:x}_{line.incident.id}_{line.seq}"

    def _body(self, line: Line) -> bytes:
        """Write the body; docs/event-webhooks.md describes it."""
        entry = line.entry
        change = {
            "sequence": line.seq,
            "actor": entry.actor,
            "actor_name": self._reader.who(entry.actor) if entry.actor else "",
            "text": entry_text(entry, self._reader),
            "data": entry.data,
        }
        data = {"incident": self._incident(line.incident), "change": change}
        kind = f"incident.{entry.kind.value}"
        return msgspec.json.encode({"type": kind, "version": VERSION, "timestamp": entry.at, "data": data})

    def _incident(self, incident: Incident) -> dict[str, object]:
        return {
            "number": incident.id,
            "url": f"{self._url}/incidents/{incident.id}",
            "state": incident.state,
            "priority": incident.priority,
            **{name: getattr(incident, name) for name in _TEXTS},
            "labels": incident.labels,
            "opened_at": incident.opened_at,
            "acknowledged_at": incident.acknowledged_at,
            "snoozed_until": incident.snoozed_until,
            "resolved_at": incident.resolved_at,
            "attached_to": incident.attached_to,
            "firing": incident.firing_count,
            "drill": incident.drill,
        }
