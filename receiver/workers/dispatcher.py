"""The loop that sends what is owed on one channel, and the only place where sending is retried."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec

from receiver.channels.base import Channel, Failure, Message, Receipt, SendError
from receiver.incident.event import Delivered, Event, Undelivered, Unreached
from receiver.incident.machine import transition
from receiver.incident.model import Priority
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.store.base import ANY, Claimed, Decide, Store, Wanted
from receiver.workers.circuit_breaker import CircuitBreaker

log = logging.getLogger(__name__)

SLOTS = 16  # messages under way at once on one channel
RESERVED = 4  # of these, those that only a P1 may take
BUNDLE = 3  # as many notifications for one address become one message
LARGEST_BUNDLE = 250
LEASE = 90.0  # seconds; longer than any channel's timeout, or a slow send would be sent twice
_THE_CHANNELS_FAULT = {Failure.TIMEOUT, Failure.NETWORK, Failure.SERVER_ERROR, Failure.AUTH}


class RetryPolicy(msgspec.Struct, frozen=True):
    """Seconds: the delay doubles from ``first`` to ``longest``; after ``give_up`` a notification is dead.

    A page that has not arrived after ``elsewhere`` looks for another way, and is tried on.
    """

    first: float
    longest: float
    give_up: float
    elsewhere: float = 60.0


Render = Callable[[Claimed], Message]
RenderBundle = Callable[[list[Claimed]], Message]


def backoff(attempt: int, policy: RetryPolicy, jitter: float, wish: float | None = None) -> float:
    """Seconds until the next attempt: doubled each time, up to a fifth less by ``jitter`` (0 to 1).

    The provider's own wish (Retry-After) is never undercut. The jitter keeps a fleet of notifications that failed
    together from coming back together.
    """
    delay = min(policy.first * 2.0 ** min(attempt - 1, 20), policy.longest) * (1 - 0.2 * jitter)
    return max(delay, wish or 0.0)


class Dispatcher:
    """Sends for one channel, so that a slow provider delays nobody else's notifications."""

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        name: str,
        channel: Channel,
        store: Store,
        *,
        current: Current,
        retry: RetryPolicy,
        render: Render,
        metrics: Metrics,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        bundle: RenderBundle | None = None,
    ) -> None:
        self._name, self._channel, self._store = name, channel, store
        self._current, self._retry, self._render, self._bundle = current, retry, render, bundle
        self._metrics, self._clock, self._jitter = metrics, clock, jitter
        self._circuit = CircuitBreaker()
        self._under_way: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._broken: BaseException | None = None

    def wake(self) -> None:
        """Something may be owed: look now."""
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; ``run`` ends when what is being sent has been settled."""
        self._stopping = True
        self._wake.set()

    async def run(self, poll: float = 1.0) -> None:
        """Run until stopped; waking is a hint, looking every ``poll`` seconds is the truth."""
        while not self._stopping and self._broken is None:
            self._wake.clear()
            if await self._begin():
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), poll)
            except TimeoutError:
                continue
        await self._end()

    async def run_once(self) -> int:
        """Claim what is owed now and try each once; gives how many there were."""
        begun = await self._begin()
        await self._end()
        return begun

    async def _begin(self) -> int:
        """Take what there are free slots for; the last ones are kept for a P1, which overtakes everything."""
        free = SLOTS - len(self._under_way)
        if free <= 0:
            return 0
        wanted = ANY if free > RESERVED else Wanted(urgent=True)
        limit = max(free - RESERVED, 1) if wanted is ANY else free
        claims = await self._store.claim(self._name, self._clock(), LEASE, limit, wanted)
        for together in await self._together(claims):
            task = asyncio.ensure_future(self._deliver(together))
            self._under_way.add(task)
            task.add_done_callback(self._done)
        return len(claims)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()

    async def _end(self) -> None:
        while self._under_way:
            await asyncio.wait(self._under_way)
        if self._broken is not None:
            raise self._broken

    async def _together(self, claims: list[Claimed]) -> list[list[Claimed]]:
        """Make one message of what goes to one address, if that is much; a P1 is always a message of its own."""
        if self._bundle is None:
            return [[claimed] for claimed in claims]
        groups: dict[tuple[str, str], list[Claimed]] = {}
        alone: list[list[Claimed]] = []
        for claimed in claims:
            if claimed.priority is Priority.P1 or claimed.incident.drill:
                alone.append([claimed])
            else:
                place = (claimed.notification.target.address, claimed.notification.kind.value)
                groups.setdefault(place, []).append(claimed)
        for (address, kind), group in groups.items():
            if len(group) < BUNDLE:
                alone += [[claimed] for claimed in group]
                continue
            rest = Wanted(address=address, kind=kind, urgent=False)
            more = await self._store.claim(self._name, self._clock(), LEASE, LARGEST_BUNDLE, rest)
            alone.append([*group, *more])
        return alone

    async def _deliver(self, claims: list[Claimed]) -> None:
        for claimed in claims:
            if claimed.attempt == 1:
                lag = (self._clock() - claimed.created_at).total_seconds()
                self._metrics.page_lag.labels(self._name).observe(max(0.0, lag))
        try:
            receipt = await self._send(claims)
        except SendError as error:
            for claimed in claims:
                await self._failed(claimed, error)
            return
        for claimed in claims:
            self._metrics.deliveries.labels(self._name, "sent").inc()
            event = Delivered(claimed.notification.round, claimed.notification.target.person)
            await self._store.settle(claimed, receipt.ref, self._deciding(event), self._clock())

    async def _send(self, claims: list[Claimed]) -> Receipt:
        """Try once, if the channel is worth a try; SendError whatever went wrong."""
        wait = self._circuit.wait(self._clock())
        if wait:
            raise SendError("the channel is down and paused", Failure.CIRCUIT_OPEN, retry_after=wait)
        try:
            bundle = self._bundle if len(claims) > 1 else None
            receipt = await self._channel.send(bundle(claims) if bundle else self._render(claims[0]))
        except SendError as error:
            if error.reason in _THE_CHANNELS_FAULT:
                self._circuit.failed(self._clock())
            else:
                self._circuit.refused()
            raise
        except Exception as error:
            # One poisoned notification must not stop the others; what it is stands in the log, and it is retried.
            ids = ", ".join(str(claimed.id) for claimed in claims)
            log.exception("notification %s failed inside channel %s", ids, self._name)
            self._circuit.refused()
            raise SendError(f"internal error {type(error).__name__}", Failure.INTERNAL) from error
        else:
            self._circuit.succeeded()
            return receipt if len(claims) == 1 else Receipt()  # a bundle is nobody's thread
        finally:
            self._metrics.circuit_open.labels(self._name).set(self._circuit.is_open)

    async def _failed(self, claimed: Claimed, error: SendError) -> None:
        now, notification = self._clock(), claimed.notification
        facts = {"facts": {"incident": claimed.incident.id, "channel": self._name, "reason": error.reason.value}}
        self._metrics.failures.labels(self._name, error.reason.value).inc()
        resting = error.reason is Failure.CIRCUIT_OPEN
        wait = error.retry_after if resting else None
        delay = wait or backoff(claimed.attempt, self._retry, self._jitter(), error.retry_after)
        age = (now - claimed.created_at).total_seconds()
        unreached = self._deciding(Unreached(notification.target, notification.round, error.reason))
        if error.permanent or age + delay > self._retry.give_up:
            self._metrics.deliveries.labels(self._name, "dead").inc()
            self._metrics.dead.labels(self._name).inc()
            log.error("notification %d failed for good: %s", claimed.id, error, extra=facts)
            undelivered = self._deciding(Undelivered(notification.round))
            await self._store.dead(claimed, error.reason, str(error), unreached, undelivered, now)
            return
        self._metrics.deliveries.labels(self._name, "retried").inc()
        level = logging.DEBUG if resting else logging.WARNING
        log.log(level, "notification %d failed, next attempt in %.0fs: %s", claimed.id, delay, error, extra=facts)
        elsewhere = unreached if age + delay >= self._retry.elsewhere else None
        await self._store.retry_at(claimed, now + timedelta(seconds=delay), str(error), now, elsewhere)

    def _deciding(self, event: Event) -> Decide:
        return partial(transition, event=event, policy=self._current.routing, now=self._clock())
