"""Keeps a dispatcher sending while the store cannot write: what is on disk goes out, and what became of it is kept.

What could not be written is written as soon as the store works again. Until then nothing that this process has sent is
sent again by it; what it has not written when it ends goes out once more at the next start.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from receiver.incident.model import Decision, Failure, Incident, Notification, Priority
from receiver.store.base import ANY, Asking, Claimed, Decide, Given, Sent, Store, StoreError, StoreOutageError, Wanted

log = logging.getLogger(__name__)

Write = Callable[[Claimed], Awaitable[None]]

# A change that this one incident cannot have: a constraint of the database, or what cannot be encoded.
_FAULTS = (StoreError, msgspec.MsgspecError, ValueError, TypeError)


class _Unsettled(msgspec.Struct):
    """What became of a row, to be written under ``lease``, or under the next one; it may be sent ``again`` then."""

    write: Write
    lease: Claimed | None
    claimed: Claimed
    again: datetime | None = None
    being_written: bool = False


class _WriteOnce(Protocol):
    async def __call__(self, lease: Claimed, *, changes: bool) -> None: ...


def _whole(write: _WriteOnce) -> Write:
    """Write what became of a row; its incident stays as it is if it cannot be changed so.

    Else the process would end, and the next one send the same again and end there, too.
    """

    async def written(lease: Claimed) -> None:
        try:
            await write(lease, changes=True)
        except StoreOutageError:
            raise
        except _FAULTS:
            log.exception("incident %d takes in nothing of notification %d", lease.incident.id, lease.id)
            await write(lease, changes=False)

    return written


class UnsettledOutbox:
    """See receiver.store.base.Outbox; one for each dispatcher. In an outage of the store, no method raises."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unsettled: dict[int, _Unsettled] = {}
        self._under_way: dict[int, Claimed | None] = {}  # sent without a lease -> the lease that it got meanwhile
        self._sending: dict[int, tuple[int, str]] = {}  # of these, the lane
        self._ended = asyncio.Event()  # one of these has been sent
        self._parked: dict[int, str] = {}  # in the outage: row -> address
        self._held: dict[int, Claimed] = {}  # leased and untried, for the outage came in between
        self._released: dict[str, Callable[[], Awaitable[None]]] = {}

    async def claim(self, channel: str, now: datetime, lease: float, limit: int, wanted: Wanted = ANY) -> list[Claimed]:
        """Lease what is owed; what can only be read is given as it is."""
        try:
            await self._put_back(channel)
            for address, release in list(self._released.items()):
                await release()
                del self._released[address]
            claims = await self._store.claim(channel, now, lease, limit, wanted)
        except StoreOutageError:
            return await self._read(channel, now, limit, wanted)
        if self._store.outage is None:  # else nothing was due, and so nothing was written
            self._parked.clear()  # who serves the address will say so again
        fresh = [claimed for claimed in claims if not self._is_known(claimed)]
        for number, unsettled in list(self._unsettled.items()):
            if not unsettled.being_written and not await self._write(number, unsettled):
                break
        return fresh

    def _is_known(self, lease: Claimed) -> bool:
        """Say whether this was sent without a lease; then it is the lease to write the outcome under."""
        if lease.id in self._under_way:
            self._under_way[lease.id] = lease
        elif lease.id in self._unsettled:
            self._unsettled[lease.id].lease = lease
        else:
            return False
        return True

    def holds(self, claimed: Claimed) -> bool:
        """Say whether it may be sent; what could only be read in an outage has no lease, and nobody else has one."""
        return claimed.id in self._under_way or self._store.holds(claimed)

    async def in_turn(self, claimed: Claimed) -> None:
        """Wait until what was sent without a lease in its lane has ended: an answer must not overtake its page."""
        lane = claimed.incident.id, claimed.notification.target.lane
        while any(other == lane for number, other in self._sending.items() if number != claimed.id):
            self._ended.clear()
            await self._ended.wait()

    async def settle(self, claimed: Claimed, ref: str, decide: Decide, now: datetime) -> None:
        """It was sent."""

        async def write(lease: Claimed, *, changes: bool) -> None:
            await self._store.settle(lease, ref, decide if changes else Decision, now)

        await self._done(claimed, _whole(write))

    async def settle_and_claim(  # see the store
        self,
        sent: Sequence[Sent],
        channel: str,
        now: datetime,
        lease: float,
        addresses: Collection[str],
        asking: Asking,
    ) -> Sequence[Given]:
        """Settle what was sent, and claim what comes next."""
        if not (self._unsettled or self._under_way or self._parked or self._held or self._released):
            try:
                given = await self._store.settle_and_claim(sent, channel, now, lease, addresses, asking)
            except StoreOutageError:
                pass  # each is settled by itself, when that can be written
            except _FAULTS:
                log.exception("%d messages are settled each by itself", len(sent))
            else:
                return [Given(one.ask, [each for each in one.claims if not self._is_known(each)]) for one in given]
        await asyncio.gather(*(self.settle(one.claimed, one.ref, one.decide, now) for one in sent))
        ranks, given = await self.most_urgent(channel, list(addresses)), list[Given]()
        for ask in asking(ranks, given):
            given.append(Given(ask, await self.claim(channel, now, lease, ask.limit, ask.wanted)))
        return given

    async def retry_at(  # see the store
        self,
        claims: Sequence[Claimed],
        when: datetime,
        error: str,
        now: datetime,
        *,
        spent: float,
        unreached: Callable[[Claimed], Decide | None],
    ) -> None:
        """They were tried and not sent; try again at ``when``."""

        async def put_off(leases: Sequence[Claimed], *, changes: bool = True) -> None:
            decide = unreached if changes else lambda _: None
            await self._store.retry_at(leases, when, error, now, spent=spent, unreached=decide)

        async def put_off_one(lease: Claimed, *, changes: bool) -> None:
            await put_off([lease], changes=changes)

        if not any(claimed.id in self._under_way for claimed in claims):
            try:
                await put_off(claims)
            except StoreOutageError:
                pass  # each is put off by itself, when that can be written
            except _FAULTS:
                log.exception("%d notifications are put off each by itself", len(claims))
            else:
                return
        for claimed in claims:
            failed = msgspec.structs.replace(claimed, tries=claimed.tries + 1, spent=claimed.spent + spent)
            await self._done(failed, _whole(put_off_one), when)

    async def dead(
        self,
        claimed: Claimed,
        failure: Failure,
        error: str,
        unreached: Decide,
        undelivered: Decide,
        now: datetime,
    ) -> None:
        """It will never be sent."""

        async def write(lease: Claimed, *, changes: bool) -> None:
            made = (unreached, undelivered) if changes else (Decision, Decision)
            await self._store.dead(lease, failure, error, *made, now)

        await self._done(claimed, _whole(write))

    async def park(self, address: str, claims: Sequence[Claimed], channel: str) -> None:
        """``claims`` go back untried, and are given by their address alone."""
        leases = [lease for claimed in claims if (lease := self._over(claimed)) is not None]
        try:
            await self._store.park(address, leases, channel)
        except StoreOutageError:
            self._parked |= {claimed.id: address for claimed in claims}
            self._held |= {lease.id: lease for lease in leases}
        else:
            self._parked |= {claimed.id: address for claimed in claims if claimed not in leases}

    async def release(self, channel: str, address: str, now: datetime, *, forward: bool) -> None:
        """End ``park``."""

        async def release() -> None:
            await self._put_back(channel)  # parked, so before this
            await self._store.release(channel, address, now, forward=forward)

        self._parked = {number: parked for number, parked in self._parked.items() if parked != address}
        try:
            await release()
        except StoreOutageError:
            self._released[address] = release

    async def most_urgent(self, channel: str, addresses: Sequence[str]) -> dict[str, int]:
        """Give the rank of the most urgent row that waits for each address."""
        try:
            return await self._store.most_urgent(channel, addresses)
        except StoreOutageError:
            return {}

    async def digest(self, ref: str) -> list[tuple[Notification, Incident]]:
        """Read what went out in one message; reading works in an outage, too."""
        return await self._store.digest(ref)

    async def late_pages(self, channel: str, before: datetime, limit: int) -> list[Claimed]:
        """Give pages that wait for long; none in an outage, in which no other way could be written down."""
        if self._store.outage is not None:
            return []
        try:
            return await self._store.late_pages(channel, before, limit)
        except StoreOutageError:
            return []

    async def look_elsewhere(self, claimed: Claimed, unreached: Decide, now: datetime) -> None:
        """Look for another way for a late page; in an outage it is late again at the next look."""

        async def write(lease: Claimed, *, changes: bool) -> None:
            await self._store.look_elsewhere(lease, unreached if changes else Decision, now)

        try:
            await _whole(write)(claimed)
        except StoreOutageError:
            return
        except _FAULTS:
            log.exception("cannot note that notification %d goes another way", claimed.id)

    async def _put_back(self, channel: str) -> None:
        """Let what we hold be claimed again: until its lease ends nobody else would."""
        addresses = {lease.notification.target.address for lease in self._held.values()}
        for address in addresses:
            leases = [lease for lease in self._held.values() if lease.notification.target.address == address]
            await self._store.park(address, leases, channel)
            for lease in leases:
                self._held.pop(lease.id, None)

    def _take_held(self, limit: int, wanted: Wanted) -> list[Claimed]:
        """Give what we hold, the most urgent first, and hold it no longer."""
        fitting = [lease for lease in self._held.values() if self._fits(lease, wanted)]
        taken = sorted(fitting, key=lambda lease: (lease.priority.value, lease.id))[: 1 if wanted.trial else limit]
        for lease in taken:
            del self._held[lease.id]
        return taken

    def _fits(self, lease: Claimed, wanted: Wanted) -> bool:
        urgent = lease.priority is Priority.P1
        if wanted.urgent not in {None, urgent} or wanted.kind not in {"", lease.notification.kind.value}:
            return False
        address = lease.notification.target.address
        return wanted.address == address if wanted.address else lease.id not in self._parked

    async def _read(self, channel: str, now: datetime, limit: int, wanted: Wanted) -> list[Claimed]:
        if taken := self._take_held(limit, wanted):
            return taken
        settled = {number for number, row in self._unsettled.items() if row.again is None}
        held = {number for number, row in self._unsettled.items() if row.again is None or row.again > now}
        held |= set(self._held) | set(self._under_way) | (set() if wanted.address else set(self._parked))
        try:
            rows = await self._store.readable(channel, now, limit, wanted, held=held, settled=settled)
        except StoreOutageError:
            return []
        return [self._without_lease(claimed) for claimed in rows]

    def _without_lease(self, claimed: Claimed) -> Claimed:
        """Give a row that could only be read; what happened to it in this outage counts."""
        before = self._unsettled.pop(claimed.id, None)
        self._under_way[claimed.id] = before.lease if before else None
        self._sending[claimed.id] = claimed.incident.id, claimed.notification.target.lane
        if before is None:
            return msgspec.structs.replace(claimed, attempt=claimed.attempt + 1)
        seen = before.claimed
        return msgspec.structs.replace(claimed, attempt=seen.attempt + 1, tries=seen.tries, spent=seen.spent)

    def _over(self, claimed: Claimed) -> Claimed | None:
        """It is not under way any more; give its lease, if it has one."""
        self._sending.pop(claimed.id, None)
        self._ended.set()
        return self._under_way.pop(claimed.id, claimed)

    async def _done(self, claimed: Claimed, write: Write, again: datetime | None = None) -> None:
        lease = self._over(claimed)
        unsettled = self._unsettled[claimed.id] = _Unsettled(write, lease, claimed, again)
        await self._write(claimed.id, unsettled)

    async def _write(self, number: int, unsettled: _Unsettled) -> bool:
        """Write it down, if there is a lease; False if the store does not work."""
        if unsettled.lease is None:
            return True
        unsettled.being_written = True
        try:
            await unsettled.write(unsettled.lease)
        except StoreOutageError:
            return False
        except _FAULTS:
            log.exception("what became of notification %d cannot be written", number)
            unsettled.lease = None  # under the next one it is tried again, and not sent
            return True
        finally:
            unsettled.being_written = False
        self._unsettled.pop(number, None)
        return True
