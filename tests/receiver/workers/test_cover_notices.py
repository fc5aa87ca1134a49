"""Who is asked to stand in hears of it, and who has asked hears the answer: once, over failures and restarts."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.actions.duty import Duty
from receiver.channels.base import Failure, SendError
from receiver.messages.templating import Templates
from receiver.oncall.cover import Cover, CoverNews, CoverState, news
from receiver.store.sql.store import SQLStore
from receiver.workers.cover_notices import CoverNotices
from tests.receiver.example_site import START, Clock, Recorder, a_store, the_current

DAY = timedelta(days=1)


class Site:
    """Linh, Marek and a channel that keeps what it is given."""

    def __init__(self, store: SQLStore, clock: Clock) -> None:
        self.store, self.clock, self.email, self.pager = store, clock, Recorder(), Recorder()
        current = the_current()
        self.duty = Duty(store, store.duty, current, clock)
        self.loop = CoverNotices(
            store.duty,
            current,
            clock,
            {"email": self.email, "pagerduty": self.pager},
            {"email"},
            "https://oncall.example.com/",
            Templates(None),
        )

    async def ask(self, person: str = "marek", by: str = "linh") -> int:
        cover = Cover("", "linh", person, START + DAY, START + 2 * DAY, reason="<b>Wedding</b>")
        made = await self.duty.make((cover,), by)
        assert isinstance(made, tuple), made
        return made[0].id

    def told(self) -> list[tuple[str, str]]:
        told = [(one.address, one.headline) for one in self.email.sent]
        self.email.sent.clear()
        return told


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Site(store, clock)
    await store.close()


async def test_who_is_asked_hears_of_it_and_who_has_asked_hears_the_answer(site: Site) -> None:
    number = await site.ask()
    assert await site.loop.run_once() == 1
    (message,) = site.email.sent
    assert (message.address, message.headline) == ("marek@example.com", "Linh asks you to cover a shift")
    assert message.links[0].url == "https://oncall.example.com/on-call"
    assert "From 2026-11-24 03:00 UTC to 2026-11-25 03:00 UTC" in message.text
    assert "Reason: <b>Wedding</b>" in message.text
    assert "&lt;b&gt;Wedding" in message.html
    assert message.number == 0  # there is nothing to acknowledge
    site.told()
    await site.duty.accept(number, "marek")
    await site.loop.run_once()
    assert site.told() == [("linh@example.com", "Marek accepted and stands in for Linh")]
    await site.duty.cancel(number, "linh")
    await site.loop.run_once()
    assert site.told() == [("marek@example.com", "Linh cancelled: Marek does not stand in for Linh")]
    assert await site.loop.run_once() == 0
    assert site.pager.sent == []


async def test_of_a_swap_both_halves_name_who_stands_in(site: Site) -> None:
    for answer, said in (
        (site.duty.accept, ("Marek accepted and stands in for Linh", "Marek accepted: Linh stands in for Marek")),
        (site.duty.cancel, ("Marek does not stand in for Linh", "Marek declined: Linh does not stand in for Marek")),
    ):
        one = Cover("", "linh", "marek", START + DAY, START + 2 * DAY)
        other = Cover("", "marek", "linh", START + 4 * DAY, START + 5 * DAY)
        made = await site.duty.make((one, other), "linh")
        assert isinstance(made, tuple), made
        await site.loop.run_once()
        site.told()
        await answer(made[0].id, "marek")
        await site.loop.run_once()
        assert sorted(site.told()) == sorted(("linh@example.com", headline) for headline in said)
        await site.duty.cancel(made[0].id, "linh")
        await site.loop.run_once()
        site.told()


async def test_what_fails_is_told_later_and_is_not_lost_with_the_process(site: Site) -> None:
    await site.ask()
    site.email.failures = [SendError("away", Failure.NETWORK)]
    assert await site.loop.run_once() == 0
    assert await site.loop.run_once() == 0  # not before its time
    site.clock.forward(seconds=31)
    assert await Site(site.store, site.clock).loop.run_once() == 1
    assert await site.loop.run_once() == 0


async def test_what_waited_through_a_downtime_is_tried_as_often_as_anything_else(site: Site) -> None:
    cover = Cover("", "linh", "marek", START + 5 * DAY, START + 6 * DAY)
    assert isinstance(await site.duty.make((cover,), "linh"), tuple)
    site.clock.forward(days=2)  # we did not run
    site.email.failures = [SendError("away", Failure.NETWORK)] * 3
    for _ in range(4):
        await site.loop.run_once()
        site.clock.forward(minutes=10)
    assert [address for address, _ in site.told()] == ["marek@example.com"]


async def test_what_nobody_takes_for_a_day_is_given_up(site: Site) -> None:
    cover = Cover("", "linh", "marek", START + 5 * DAY, START + 6 * DAY)
    assert isinstance(await site.duty.make((cover,), "linh"), tuple)
    site.email.failures = [SendError("away", Failure.NETWORK)] * 1000
    for _ in range(30):
        await site.loop.run_once()
        site.clock.forward(hours=1)
    assert await site.store.duty.cover_notices(site.clock.now, 10) == []


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_changes_nothing_in_when_it_is_told_again(site: Site, hours: int) -> None:
    await site.ask()
    site.email.failures = [SendError("away", Failure.NETWORK)]
    await site.loop.run_once()
    site.clock.set(hours=hours)
    await site.store.clock_set(timedelta(hours=hours), site.clock.now)
    assert await site.loop.run_once() == 0
    site.clock.forward(seconds=31)
    assert await site.loop.run_once() == 1


async def test_what_breaks_inside_a_channel_keeps_nobody_else_waiting(site: Site) -> None:
    await site.ask()
    cover = Cover("", "marek", "linh", START + 3 * DAY, START + 4 * DAY)
    assert isinstance(await site.duty.make((cover,), "marek"), tuple)
    site.email.failures = [ValueError("a fault of ours")]
    assert await site.loop.run_once() == 1
    assert [address for address, _ in site.told()] == ["linh@example.com"]
    site.clock.forward(seconds=31)
    assert await site.loop.run_once() == 1


async def test_what_cannot_be_told_is_given_up(site: Site) -> None:
    await site.ask()
    site.email.failures = [SendError("no such address", Failure.BAD_ADDRESS, permanent=True)]
    await site.loop.run_once()
    site.clock.forward(days=1)
    assert await site.loop.run_once() == 0
    assert site.told() == []


@pytest.mark.parametrize(
    ("was", "now", "actor", "told"),
    [
        (None, CoverState.ASKED, "linh", {"marek": CoverNews.ASKED}),
        (None, CoverState.ACTIVE, "marek", {"linh": CoverNews.MADE}),
        (None, CoverState.ACTIVE, "peter", {"linh": CoverNews.MADE, "marek": CoverNews.MADE}),
        (CoverState.ASKED, CoverState.ACTIVE, "marek", {"linh": CoverNews.ACCEPTED}),
        (CoverState.ASKED, CoverState.CANCELLED, "marek", {"linh": CoverNews.DECLINED}),
        (CoverState.ASKED, CoverState.CANCELLED, "linh", {"marek": CoverNews.WITHDRAWN}),
        (CoverState.ACTIVE, CoverState.CANCELLED, "marek", {"linh": CoverNews.CANCELLED}),
        (CoverState.ASKED, CoverState.ASKED, "linh", {}),
    ],
)
def test_who_is_told_what(was: CoverState | None, now: CoverState, actor: str, told: dict[str, CoverNews]) -> None:
    def cover(state: CoverState) -> Cover:
        return Cover("", "linh", "marek", START, START + DAY, state, "linh")

    assert news(cover(was) if was else None, cover(now), actor) == told
