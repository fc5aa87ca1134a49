"""A receiver that was stopped for longer than its leases last knows that it has lost them."""

from collections.abc import Callable
from typing import Any

import msgspec

from receiver.incident.model import Incident, Kind, Notification, Target
from receiver.store.base import Claimed
from receiver.store.postgres.leases import LENGTH, Leases, Rows
from tests.receiver.example_site import P1, Clock

TARGET = Target("email", "linh@example.com", "email:linh@example.com")
CLAIMED = Claimed(
    id=1,
    incident=Incident(id=1, key="a"),
    notification=Notification(Kind.PAGE, TARGET, 1),
    timeline=(),
    attempt=1,
    created_at=Clock().now,
    thread="",
    priority=P1,
)


def answering(rows: Rows) -> Callable[[Any], Any]:
    """Commit, and find these still leased."""

    async def commit(_change: object) -> Rows:
        return rows

    return commit


async def test_a_lease_lasts_for_as_long_as_it_was_written_and_is_renewed() -> None:
    clock = Clock()
    leases = Leases(clock)
    assert not leases.hold(CLAIMED)
    leases.keep([CLAIMED], 90, clock.now)
    clock.forward(seconds=LENGTH - 1)
    assert leases.hold(CLAIMED)
    await leases.renew(answering([(1, 1)]))
    clock.forward(seconds=LENGTH - 1)
    assert leases.hold(CLAIMED)
    assert not leases.hold(msgspec.structs.replace(CLAIMED, attempt=2))
    leases.end([CLAIMED])
    assert not leases.hold(CLAIMED)


async def test_who_was_stopped_has_lost_its_leases_and_renews_none_that_another_one_has_taken() -> None:
    clock = Clock()
    leases = Leases(clock)
    leases.keep([CLAIMED], 90, clock.now)
    clock.forward(seconds=LENGTH + 1)
    assert not leases.hold(CLAIMED)
    await leases.renew(answering([]))
    assert not leases.hold(CLAIMED)


async def test_a_lease_is_renewed_no_longer_than_was_asked_for() -> None:
    clock = Clock()
    leases = Leases(clock)
    leases.keep([CLAIMED], 3, clock.now)
    clock.forward(seconds=4)
    await leases.renew(answering([(1, 1)]))
    assert not leases.hold(CLAIMED)
