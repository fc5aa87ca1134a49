"""The loop that sends what is owed on one channel, and the only place where sending is retried."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec

from receiver.channels.base import Channel, Failure, Message, SendError
from receiver.incident import Policy, Undelivered
from receiver.metrics import Metrics
from receiver.store.base import Claimed, Store
from receiver.transition import transition

log = logging.getLogger(__name__)

BATCH = 16  # notifications sent at once on one channel
LEASE = 90.0  # seconds; longer than any channel's timeout, or a slow send would be sent twice


class RetryPolicy(msgspec.Struct, frozen=True):
    """Seconds: the delay doubles from ``first`` to ``longest``; after ``give_up`` a notification is dead."""

    first: float
    longest: float
    give_up: float


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
        policy: Policy,
        retry: RetryPolicy,
        render: Callable[[Claimed], Message],
        metrics: Metrics,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._name, self._channel, self._store = name, channel, store
        self._policy, self._retry, self._render = policy, retry, render
        self._metrics, self._clock, self._jitter = metrics, clock, jitter
        self._bell = asyncio.Event()
        self._stopping = False

    def ring(self) -> None:
        """Something may be owed: look now."""
        self._bell.set()

    def stop(self) -> None:
        """Claim nothing more; ``run`` ends when what is being sent has been settled."""
        self._stopping = True
        self._bell.set()

    async def run(self, poll: float = 1.0) -> None:
        """Run until stopped; the bell is a hint, looking every ``poll`` seconds is the truth."""
        while not self._stopping:
            self._bell.clear()
            if await self.run_once():
                continue
            try:
                await asyncio.wait_for(self._bell.wait(), poll)
            except TimeoutError:
                continue

    async def run_once(self) -> int:
        """Claim what is owed now and try each once; gives how many there were."""
        claims = await self._store.claim(self._name, self._clock(), LEASE, BATCH)
        await asyncio.gather(*(self._deliver(claimed) for claimed in claims))
        return len(claims)

    async def _deliver(self, claimed: Claimed) -> None:
        if claimed.attempt == 1:
            lag = (self._clock() - claimed.created_at).total_seconds()
            self._metrics.page_lag.labels(self._name).observe(max(0.0, lag))
        try:
            receipt = await self._channel.send(self._render(claimed))
        except SendError as error:
            await self._failed(claimed, error)
        except Exception as error:
            # One poisoned notification must not stop the others; what it is stands in the log, and it is retried.
            log.exception("notification %d failed inside channel %s", claimed.id, self._name)
            await self._failed(claimed, SendError(f"internal error {type(error).__name__}", Failure.INTERNAL))
        else:
            self._metrics.deliveries.labels(self._name, "sent").inc()
            await self._store.settle(claimed, receipt.ref, self._clock())

    async def _failed(self, claimed: Claimed, error: SendError) -> None:
        now = self._clock()
        self._metrics.failures.labels(self._name, error.reason.value).inc()
        delay = timedelta(seconds=backoff(claimed.attempt, self._retry, self._jitter(), error.retry_after))
        spent = now + delay - claimed.created_at > timedelta(seconds=self._retry.give_up)
        if error.permanent or spent:
            self._metrics.deliveries.labels(self._name, "dead").inc()
            log.error("notification %d is dead on %s: %s (%s)", claimed.id, self._name, error, error.reason)
            event = Undelivered(claimed.notification.round)
            decide = partial(transition, event=event, policy=self._policy, now=now)
            await self._store.dead(claimed, str(error), decide, now)
            return
        self._metrics.deliveries.labels(self._name, "retried").inc()
        log.warning("notification %d waits %.0fs on %s: %s", claimed.id, delay.total_seconds(), self._name, error)
        await self._store.retry_at(claimed, now + delay, str(error), now)
