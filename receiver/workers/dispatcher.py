"""The loop that sends what is owed on one channel, and the only place where sending is retried."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from receiver.channels.base import Channel, DeferredError, Failure, Message, Receipt, SendError, attempt
from receiver.incident.event import Delivered, Event, Undelivered, Unreached
from receiver.incident.machine import transition
from receiver.incident.model import Incident, Kind, Notification, Priority
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.store.base import Asking, Claimed, Decide, Given, Outbox, Sent, Wanted
from receiver.workers.circuit_breaker import REST
from receiver.workers.clock_watch import ClockWatch
from receiver.workers.destinations import AT_HOST_LEAST, Destination, Destinations, Place, Shares
from receiver.workers.retry import RetryPolicy, backoff
from receiver.workers.stuck import careless

log = logging.getLogger(__name__)

SLOTS = 64  # messages under way at once on one channel; how many of them at one host and address, `destinations` says
RESERVED = 16  # of these, those that only a P1 may take
BUNDLE = 3  # as many notifications for one address become one message
LARGEST_BUNDLE = 300
_AT_ONCE = 50  # rows of a bundle that are settled by one commit, which a P1 may wait for
LEASE = 90.0  # seconds; longer than any channel's timeout, or a slow send would be sent twice
_LATE_AT_ONCE = 50  # pages that look for another way together
_NEXT_LOOK = 0.1  # seconds until there may be more room at a host that takes its time
_LOOK = 1.0  # seconds between two looks for them
# PagerDuty keeps an incident open whose resolve was lost; a key that is refused may be mended.
_KEPT = {Kind.ACKNOWLEDGED, Kind.RESOLVED}
_MENDABLE = {Failure.AUTH}
_MENDED_SLOWLY = 600.0  # seconds between two attempts with a key that is refused


Render = Callable[[Claimed], Message]
RenderBundle = Callable[[list[Claimed]], Message]
RenderDigest = Callable[[Sequence[tuple[Notification, Incident]], Claimed], Message]


class _Outgoing(NamedTuple):
    """What becomes one message: one notification, or several for one address."""

    claims: list[Claimed]
    urgent: bool


class _Answered(NamedTuple):
    """A message that was sent, which is not on the disk yet: what is not is sent again if we are killed."""

    claims: list[Claimed]
    receipt: Receipt
    place: Place


class Dispatcher:
    """Sends for one channel, so that a slow provider delays nobody else's notifications.

    What waits for an address that takes nothing now (it is down, slow, or has had enough for a while) is parked: it is
    claimed by its address alone, most urgent first, as soon as there is room, and ages by nothing meanwhile.
    """

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        name: str,
        channel: Channel,
        store: Outbox,
        *,
        current: Current,
        retry: RetryPolicy,
        render: Render,
        metrics: Metrics,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
        jitter: Callable[[], float],
        bundle: RenderBundle | None = None,
        digest: RenderDigest | None = None,
        umbrella: bool = False,
        host_of: Callable[[str], str] = lambda _address: "",
        keeps_incidents: bool = False,
        watch: ClockWatch | None = None,
        before: Callable[[Claimed], Awaitable[None]] | None = None,
        careful: Callable[[Decide], Decide] = careless,
    ) -> None:
        self._name, self._channel, self._store = name, channel, store
        self._current, self._retry, self._render, self._bundle = current, retry, render, bundle
        self._metrics, self._clock, self._elapsed, self._jitter = metrics, clock, elapsed, jitter
        self._before, self._digest, self._careful = before, digest, careful
        self._keeps_incidents, self._watch, self._umbrella = keeps_incidents, watch, umbrella
        self._destinations = Destinations(host_of)
        self._looked = float("-inf")
        self._is_all = False  # nothing else was due when we claimed last
        self._under_way: set[asyncio.Task[None]] = set()
        self._answered: list[_Answered] = []
        self._wake = asyncio.Event()
        self._unbegun: list[Claimed] = []  # given to us, and there was no room
        self._running = self._stopping = False
        self._broken: BaseException | None = None

    def wake(self) -> None:
        """Something may be owed: look now."""
        self._wake.set()

    @property
    def lease(self) -> float:
        """See receiver.store.base.Taker."""
        return LEASE

    def takes(self, address: str, beside: int) -> bool:
        """Say whether a P1 would be sent there at once. Looked at from another thread: ``take`` looks again."""
        is_calm = len(self._under_way) + len(self._answered) + beside < AT_HOST_LEAST
        return self._running and not self._stopping and is_calm and self._destinations.are_open(address)

    def take(self, claims: Sequence[Claimed]) -> None:
        """Send pages of a P1 that were leased for us; once we stop, they are left to the next process."""
        for claimed in () if self._stopping else claims:
            destination = self._destinations.of(claimed.notification.target.address)
            if self._free(urgent=True) and destination.room(self._elapsed(), urgent=True):
                self._start(_Outgoing([claimed], urgent=True), destination)
            else:
                self._unbegun.append(claimed)
                self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; ``run`` ends when what is being sent has been settled."""
        self._stopping = True
        self._wake.set()

    async def run(self, poll: float = 1.0) -> None:
        """Run until stopped; waking is a hint, looking every ``poll`` seconds is the truth."""
        self._running = True
        while not self._stopping and self._broken is None:
            self._wake.clear()
            if await self._begin() and self._may_begin_more():
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(poll, self._rest())):
                    await self._wake.wait()
        await self._end()

    def _rest(self) -> float:
        return _NEXT_LOOK if self._destinations.may_take_more(self._elapsed()) else math.inf

    async def run_once(self) -> int:
        """Try once each that is owed now and may be sent; gives how many there were."""
        tried = 0
        while begun := await self._begin():
            tried += begun
            await self._end()
        return tried

    async def _begin(self) -> int:
        """Begin what there is room for, and look for other ways; gives how many notifications were begun."""
        if self._watch is not None:
            await self._watch.look()
        await self._look_elsewhere()
        begun, self._is_all = await self._begin_unbegun(), False
        while not begun and not self._is_all:
            self._is_all = True  # unless as much is given as was asked for
            for given in await self._next():
                begun += await self._begin_given(given)
        return begun

    async def _begin_unbegun(self) -> int:
        unbegun, self._unbegun = self._unbegun, []
        return await self._begin_each(unbegun)

    async def _next(self) -> Sequence[Given]:
        """Settle what was sent and claim what there is room for, with one commit."""
        answered, now = self._take_answered(), self._elapsed()
        demands = [demand for one in self._destinations.parked() if (demand := one.demand(now)).room]
        shares = Shares(demands, (self._free(urgent=False), self._free(urgent=True)))
        if answered or demands:
            return await self._settle(answered, [one.destination.address for one in demands], shares)
        asks = shares({}, ())
        return [Given(ask, await self._claim(ask.limit, ask.wanted)) for ask in asks]

    async def _begin_given(self, given: Given) -> int:
        limit, wanted, claims = given.ask.limit, given.ask.wanted, given.claims
        if wanted.address:
            destination = self._destinations.of(wanted.address)
            if wanted.urgent is None and len(claims) < limit:
                await self._release(destination, forward=False)
            return await self._begin_at(destination, claims)
        self._is_all = len(claims) < limit
        return await self._begin_each(claims)

    async def _begin_each(self, claims: Sequence[Claimed]) -> int:
        begun, groups = 0, dict[str, list[Claimed]]()
        for claimed in claims:
            groups.setdefault(claimed.notification.target.address, []).append(claimed)
        for address, group in groups.items():
            begun += await self._begin_at(self._destinations.of(address), group)
        return begun

    def _may_begin_more(self) -> bool:
        """Say whether more may be owed than was claimed last, and could be begun."""
        now = self._elapsed()
        return not self._is_all or any(one.room(now, urgent=False) for one in self._destinations.parked())

    async def _begin_at(self, destination: Destination, claims: Sequence[Claimed]) -> int:
        """Begin what there is room for, here and at the address; the others are parked there, untried."""
        begun, left = 0, list(claims)
        while left:
            urgent = left[0].priority is Priority.P1
            if not (self._free(urgent=urgent) and destination.room(self._elapsed(), urgent=urgent)):
                destination.parked = True
                await self._store.park(destination.address, left, self._name)
                break
            outgoing, left = await self._next_message(left)
            begun += len(outgoing.claims)
            self._start(outgoing, destination)
        return begun

    def _start(self, outgoing: _Outgoing, destination: Destination) -> None:
        place = destination.begin(self._elapsed())
        task = asyncio.ensure_future(self._deliver(outgoing, destination, place))
        self._under_way.add(task)
        task.add_done_callback(self._done)

    async def _next_message(self, claims: list[Claimed]) -> tuple[_Outgoing, list[Claimed]]:
        """Take one message's worth of what is claimed for an address: all of a kind, but a P1 and a drill by itself."""
        first, kind = claims[0], claims[0].notification.kind
        if _is_of_digest(first):
            together = [each for each in claims if _is_of_digest(each) and each.thread == first.thread]
            return _Outgoing(together, urgent=False), [each for each in claims if each not in together]
        alone = self._umbrella and not (first.bundle and kind is Kind.PAGE)
        if self._bundle is None or alone or not _may_be_bundled(first):
            return _Outgoing([first], first.priority is Priority.P1), claims[1:]
        together = [each for each in claims if _go_together(first, each)]
        rest = Wanted(first.notification.target.address, kind=kind.value, urgent=False, early=True)
        more = await self._claim(LARGEST_BUNDLE - len(together), rest) if len(together) < LARGEST_BUNDLE else []
        together += [each for each in more if _go_together(first, each)]
        if len(together) < BUNDLE and not self._umbrella:
            return _Outgoing([first], urgent=False), [each for each in (*claims, *more) if each is not first]
        taken = {each.id for each in together}
        return _Outgoing(together, urgent=False), [each for each in (*claims, *more) if each.id not in taken]

    async def _claim(self, limit: int, wanted: Wanted) -> list[Claimed]:
        return await self._store.claim(self._name, self._clock(), LEASE, limit, wanted)

    def _free(self, *, urgent: bool) -> int:
        return max(0, SLOTS - len(self._under_way) - len(self._answered) - (0 if urgent else RESERVED))

    def _take_answered(self) -> list[_Answered]:
        """Take what is to be settled next; its places are free for what is claimed by the same commit."""
        taken, left = list[_Answered](), _AT_ONCE
        while self._answered and left > 0:
            one = self._answered.pop(0)
            now, later = one._replace(claims=one.claims[:left]), one._replace(claims=one.claims[left:])
            taken.append(now)
            left -= len(now.claims)
            if later.claims:
                self._answered.insert(0, later)
            else:
                one.place.free()
        if self._answered:
            self._wake.set()
        return taken

    async def _settle(self, answered: list[_Answered], addresses: Sequence[str], asking: Asking) -> Sequence[Given]:
        now, sent = self._clock(), list[Sent]()
        for claims, receipt, _ in answered:
            for claimed in claims:
                event = Delivered(claimed.notification.round, claimed.notification.target.person)
                sent.append(Sent(claimed, receipt.ref, self._deciding(event)))
        return await self._store.settle_and_claim(sent, self._name, now, LEASE, addresses, asking)

    async def _release(self, destination: Destination, *, forward: bool) -> None:
        destination.parked = False
        await self._store.release(self._name, destination.address, self._clock(), forward=forward)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()

    async def _end(self) -> None:
        while self._under_way or self._answered:
            if answered := self._take_answered():
                await self._settle(answered, (), lambda _ranks, _given: iter(()))
            else:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        if self._broken is not None:
            raise self._broken

    async def _look_elsewhere(self) -> None:
        """A page that has waited too long looks for another way; time in which we did not run does not count."""
        now, elapsed = self._clock(), self._elapsed()
        patience = timedelta(seconds=self._retry.elsewhere)
        if elapsed - self._looked < _LOOK or now - self._current.routing.running_since < patience:
            return
        self._looked = elapsed
        for late in await self._store.late_pages(self._name, now - patience, _LATE_AT_ONCE):
            target = late.notification.target
            paused = self._destinations.of(target.address).is_paused
            failure = Failure.CIRCUIT_OPEN if paused else Failure.TIMEOUT
            unreached = self._deciding(Unreached(target, late.notification.round, failure))
            await self._store.look_elsewhere(late, unreached, self._clock())

    async def _deliver(self, outgoing: _Outgoing, destination: Destination, place: Place) -> None:
        claims, begun_at = outgoing.claims, self._clock()
        try:
            receipt = await self._send(claims, place)
        except DeferredError as deferred:
            place.free()
            destination.untried()
            destination.pace(self._elapsed() + deferred.wait)
            destination.parked = True
            await self._store.park(destination.address, claims, self._name)
        except SendError as error:
            place.free()  # it is tried again anyway
            await self._failed(claims, error, destination, begun_at)
        else:
            self._answered.append(_Answered(claims, receipt, place))
            await self._sent(claims, destination, begun_at)

    async def _send(self, claims: list[Claimed], place: Place) -> Receipt:
        """Try once; SendError whatever went wrong."""
        try:
            receipt = await attempt(self._try(claims), f"notification {_ids(claims)} by {self._name}")
        finally:
            place.answered(self._elapsed())
        if len(claims) == 1:
            return receipt
        shows = self._digest is not None and receipt.ref and claims[0].notification.kind is Kind.PAGE
        return Receipt(f"*{receipt.ref}") if shows else Receipt()  # a bundle is nobody's thread

    async def _try(self, claims: list[Claimed]) -> Receipt:
        for claimed in claims:
            await self._store.in_turn(claimed)
        message = await self._message(claims)
        if not all(self._store.holds(claimed) for claimed in claims):  # we were stopped, and another receiver has it
            raise DeferredError(0.0)
        return await self._channel.send(message)

    async def _message(self, claims: list[Claimed]) -> Message:
        first = claims[0]
        if _is_of_digest(first) and self._digest is not None:
            return self._digest(await self._store.digest(first.thread), first)
        if len(claims) > 1 and self._bundle is not None:
            return self._bundle(claims)
        if self._before is not None:
            await self._before(first)
        return self._render(first)

    async def _sent(self, claims: list[Claimed], destination: Destination, begun_at: datetime) -> None:
        reopened = self._destinations.succeeded(destination)
        self._metrics.deliveries.labels(self._name, "sent").inc(len(claims))
        for claimed in claims:
            self._observe_lag(claimed, begun_at)
        if reopened:
            self._wake.set()  # to settle it meanwhile
            await self._bring_forward(reopened)

    async def _bring_forward(self, reopened: list[Destination]) -> None:
        """An address that works again gets what waits for it now, and not when each would have been retried."""
        self._count_paused()
        for destination in reopened:
            await self._release(destination, forward=True)

    def _count_paused(self) -> None:
        self._metrics.circuit_open.labels(self._name).set(self._destinations.hosts_down)
        self._metrics.addresses_paused.labels(self._name).set(self._destinations.addresses_paused)

    async def _failed(
        self, claims: list[Claimed], error: SendError, destination: Destination, begun_at: datetime
    ) -> None:
        """Put off together what was sent together, so that one message does not come back as many."""
        for claimed in claims:
            self._observe_lag(claimed, begun_at)
            self._metrics.failures.labels(self._name, error.reason.value).inc()
        reopened = self._destinations.failed(destination, error.reason, self._elapsed())
        self._count_paused()
        delay = backoff(max(each.tries for each in claims) + 1, self._retry, self._jitter(), error.retry_after)
        if error.reason is Failure.RATE_LIMITED and error.retry_after:
            destination.refuse(self._elapsed() + error.retry_after)
        if destination.is_paused:  # from now on what waits there tries it by turns, one after each rest
            destination.parked, delay = True, min(delay, REST)
        charge = min(delay, self._retry.longest)
        again = [each for each in claims if self._is_tried_again(each, error, charge)]
        for claimed in claims:
            if claimed not in again:
                await self._dead(claimed, error)
        if again:
            delay = max(delay, _MENDED_SLOWLY) if error.permanent else delay
            await self._put_off(again, error, delay, charge)
        await self._bring_forward(reopened)

    def _is_tried_again(self, claimed: Claimed, error: SendError, charge: float) -> bool:
        kept = self._keeps_incidents and claimed.notification.kind in _KEPT
        if error.permanent:
            return kept and error.reason in _MENDABLE
        return kept or claimed.spent + charge <= self._retry.give_up

    async def _dead(self, claimed: Claimed, error: SendError) -> None:
        notification = claimed.notification
        self._metrics.deliveries.labels(self._name, "dead").inc()
        if not notification.is_redraw:  # nobody has missed anything
            self._metrics.dead.labels(self._name).inc()
        log.error(
            "notification %d failed for good: %s", claimed.id, error, extra={"facts": self._facts(claimed, error)}
        )
        unreached = self._deciding(Unreached(notification.target, notification.round, error.reason))
        undelivered = self._deciding(Undelivered(notification.round))
        await self._store.dead(claimed, error.reason, str(error), unreached, undelivered, self._clock())

    async def _put_off(self, claims: list[Claimed], error: SendError, delay: float, charge: float) -> None:
        now = self._clock()
        self._metrics.deliveries.labels(self._name, "retried").inc(len(claims))
        facts = {"facts": self._facts(claims[0], error)}
        ids = _ids(claims)
        log.warning("notification %s failed, next attempt in %.0fs: %s", ids, delay, error, extra=facts)

        def unreached(claimed: Claimed) -> Decide | None:
            notification, since = claimed.notification, max(claimed.created_at, self._current.routing.running_since)
            patience = self._retry.elsewhere - (now - since).total_seconds()
            if notification.kind is not Kind.PAGE or claimed.elsewhere or delay < patience:
                return None
            return self._deciding(Unreached(notification.target, notification.round, error.reason))

        when = now + timedelta(seconds=delay)
        await self._store.retry_at(claims, when, str(error), now, spent=charge, unreached=unreached)

    def _observe_lag(self, claimed: Claimed, begun_at: datetime) -> None:
        if claimed.tries == 0 and not claimed.notification.is_redraw:
            lag = (begun_at - claimed.created_at).total_seconds()
            self._metrics.page_lag.labels(self._name).observe(max(0.0, lag))

    def _facts(self, claimed: Claimed, error: SendError) -> dict[str, object]:
        return {"incident": claimed.incident.id, "channel": self._name, "reason": error.reason.value}

    def _deciding(self, event: Event) -> Decide:
        return self._careful(partial(transition, event=event, policy=self._current.routing, now=self._clock()))


def _may_be_bundled(claimed: Claimed) -> bool:
    return claimed.priority is not Priority.P1 and not claimed.incident.drill and not claimed.notification.is_redraw


def _is_of_digest(claimed: Claimed) -> bool:
    """Say whether it changes a message of many incidents."""
    return claimed.notification.is_redraw and claimed.thread.startswith("*")


def _go_together(first: Claimed, other: Claimed) -> bool:
    same = (first.notification.kind, first.bundle) == (other.notification.kind, other.bundle)
    return same and _may_be_bundled(other)


def _ids(claims: Sequence[Claimed]) -> str:
    named = ", ".join(str(claimed.id) for claimed in claims[:3])
    return named if len(claims) <= 3 else f"{named} and {len(claims) - 3} more"  # noqa: PLR2004  # as many as are named
