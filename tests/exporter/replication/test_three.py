"""Three exporters that tell each other what none can count alone."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import trustme

from tests.exporter.example_exporter import BROWSER
from tests.exporter.replication.three import BOOKED, SECRET, One, Three, active
from tests.stories.stack import until

BOOKINGS = {"class_type": "group", "channel": "web"}
IDENTIFIED = {**BOOKED, "id": "e-1", "source": "/school"}


@pytest.fixture
async def three() -> AsyncIterator[Three]:
    replicas = Three()
    await replicas.start()
    yield replicas
    await replicas.stop()


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Three]:
    replicas = Three(tmp_path)
    await replicas.start()
    yield replicas
    await replicas.stop()


async def _near(three: Three, window: str, wanted: float) -> bool:
    return all(one is not None and abs(one - wanted) <= wanted * 0.06 for one in await three.users(window))


async def test_all_show_the_users_of_all(three: Three) -> None:
    """Users with one event each, and users whose ten events go to all: neither a third of them nor three times them."""
    for number, one in enumerate(three.all):
        await one.post(*active([f"once-{number}-{user}" for user in range(200)]))
        for _ in range(3):
            await one.post(*active([f"often-{user}" for user in range(200)]))
    for window in ("5m", "1h", "1d", "7d", "30d"):
        await until("all show 800", partial(_near, three, window, 800))


async def test_a_batch_or_event_that_is_sent_again_to_another_is_counted_once(three: Three) -> None:
    first, second, third = three.all
    answered = await first.post(BOOKED, {"type": "nonsense"}, batch_id="b-1")
    assert (answered[0], answered[1]["accepted"], answered[1]["rejected_total"]) == (202, 1, 1)
    await second.post(IDENTIFIED)
    await until("the second knows both", partial(second.knows, 2))
    await until("the third knows both", partial(third.knows, 2))
    for one in (second, third):
        assert await one.post(BOOKED, {"type": "nonsense"}, batch_id="b-1") == answered
    assert (await third.post(IDENTIFIED, batch_id="b-2"))[1]["duplicates"] == 1
    assert await three.total("class_bookings_total", **BOOKINGS) == 2
    assert await three.everywhere("exporter_counted_twice_total") == [0, 0, 0]


async def test_what_two_have_counted_before_they_could_tell_is_shown(three: Three) -> None:
    first, second, _ = three.all
    await asyncio.gather(first.post(BOOKED, batch_id="b-1"), second.post(BOOKED, batch_id="b-1"))

    async def shown() -> bool:
        return await three.total("exporter_counted_twice_total") == 2  # at each of the two

    await until("it is shown", shown)


async def test_the_last_value_of_a_gauge_is_shown_by_all(three: Three) -> None:
    for number, one in enumerate(three.all):
        seats = {"class_type": "group", "booked": 12 - number, "capacity": 50}
        await one.post({"type": "class_seats", "data": seats})

    async def alike() -> bool:
        return await three.everywhere("class_seats_booked", class_type="group") == [10, 10, 10]

    await until("all show the last", alike)


async def test_a_page_whose_batches_reach_all_is_one_page_view_one_session_and_no_loss(three: Three) -> None:
    """A vital's reports, a session and the numbers of a page's batches, spread over all."""
    for number, one in enumerate(three.all):
        vital = {"vital": "INP", "page": "/", "rating": "good", "seconds": (number + 1) / 10}
        event = {"type": "web_vital", "id": "v-1", "data": vital}
        client = {"page_id": "p-1", "session": "s-1", "sequence": number}
        async with one.client.post("/api/pulse", json={"client": client, "events": [event]}, headers=BROWSER) as answer:
            assert answer.status == 204, await answer.text()
    name, labels = "rum_interaction_to_next_paint_seconds", {"page": "/", "device": "desktop"}

    async def once() -> bool:
        counts = [await three.total(f"{name}_count", **labels), await three.total(f"{name}_sum", **labels)]
        return counts == [1, 0.3]

    await until("the last report is counted", once, patience=15)
    assert await three.total("rum_active_sessions") == 1
    for one in three.all:  # half an hour later
        one.exporter.parts.state.tick(one.exporter.clock.now() + 1801)
    assert await three.total("rum_beacons_lost_total") == 0
    assert await three.total("rum_session_duration_seconds_count") == 1
    assert 0 < await three.total("rum_session_duration_seconds_sum") < 60


async def test_a_killed_one_learns_again_what_it_was_told_and_tells_what_it_had_not(kept: Three) -> None:
    first, second, third = kept.all
    await second.post(BOOKED, batch_id="b-1")
    await until("the first knows it", partial(first.knows, 1))
    await first.kill()
    await second.post(BOOKED, *active(["u-1"]), batch_id="b-2")
    await third.kill()
    await kept.start(first)
    await until("it knows both", partial(first.knows, 2))
    for batch in ("b-1", "b-2"):
        await first.post(BOOKED, batch_id=batch)
    await second.kill()  # what it has counted is in its journal
    await kept.start(second, third)
    await third.post(BOOKED, batch_id="b-2")
    assert await kept.total("class_bookings_total", **BOOKINGS) == 2
    await until("and the user", partial(_near, kept, "1d", 1))
    assert await kept.total("exporter_counted_twice_total") == 0


async def test_one_that_was_away_has_heard_what_was_counted_before_it_serves(kept: Three) -> None:
    first, second, _ = kept.all
    await first.kill()
    for number in range(3):
        await second.post(BOOKED, {**IDENTIFIED, "id": f"e-{number}"}, batch_id=f"b-{number}")
    await first.start()
    for number in range(3):
        answered = await first.post(BOOKED, {**IDENTIFIED, "id": f"e-{number}"}, batch_id=f"b-{number}")
        assert answered[1]["accepted"] == 2  # as the first time
    assert (await first.post({**IDENTIFIED, "id": "e-2"}))[1]["duplicates"] == 1
    assert await kept.total("class_bookings_total", **BOOKINGS) == 6


async def test_one_that_ends_tells_what_is_left() -> None:
    three = Three(every=600)
    await three.start()
    first, second, third = three.all
    await first.post(*active([f"u-{user}" for user in range(50)]))
    await first.post(BOOKED, batch_id="b-1")
    await first.end()
    assert await second.knows(1)
    assert await third.knows(1)
    assert all(one is not None and one > 45 for one in await three.users("1d"))
    await three.stop()


async def test_a_dead_or_slow_peer_changes_nothing_for_the_others(three: Three) -> None:
    first, second, third = three.all

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    await third.end()
    slow = await asyncio.start_server(silent, "127.0.0.1", third.port)
    for number in range(20):
        assert (await first.post(BOOKED, *active([f"u-{number}"]), batch_id=f"b-{number}"))[0] == 202
    await until("the second knows them", partial(second.knows, 20))
    await until("and the users", partial(_near, three, "1h", 20))

    async def noticed() -> bool:
        return await three.everywhere("exporter_peers", state="unreachable") == [1, 1]

    await until("both say that one is missing", noticed)
    slow.close()
    await three.start(third)
    await until("it learns what it missed", partial(third.knows, 20))


async def test_another_secret_is_noticed_on_both_sides(three: Three) -> None:
    first, _, third = three.all
    await third.end()
    third.secret = "another-secret-of-thirty-characters"
    await third.start()

    async def noticed() -> bool:
        refused = await third.shows("exporter_replication_sent_total", outcome="refused")
        return bool(refused) and bool(await first.shows("exporter_replication_received_total", outcome="unauthorized"))

    await until("both show it", noticed)


async def test_peers_may_have_certificates_of_an_authority_of_their_own(tmp_path: Path) -> None:
    authority, tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    three = Three(tls=tls, ca_file=tmp_path / "ca.pem")
    await three.start()
    await three.stop()
    unknown = Three(tls=tls)
    for one in unknown.all:
        await one.start()

    async def refused() -> bool:
        return await unknown.everywhere("exporter_peers", state="unreachable") == [3, 3, 3]

    await until("nobody trusts another", refused)
    await unknown.stop()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"", 401),
        ({"Authorization": "Bearer exporter-token"}, b"", 401),
        ({"Authorization": f"Bearer {SECRET}"}, b"nonsense", 400),
        ({"Authorization": f"Bearer {SECRET}"}, b"\x81\xa4boot\xa0", 400),
        ({"Authorization": f"Bearer {SECRET}"}, bytes(1024 * 1024 + 1), 413),
        ({"Authorization": f"Bearer {SECRET}", "Content-Encoding": "gzip"}, b"x", 400),
    ],
)
async def test_strangers_and_nonsense_are_refused(
    three: Three, headers: dict[str, str], body: bytes, status: int
) -> None:
    one: One = three.all[0]
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{one.port}/api/replication"
        async with session.post(url, data=io.BytesIO(body), headers=headers) as answer:
            assert answer.status == status
            assert SECRET not in await answer.text()
    assert (await one.post(BOOKED))[0] == 202
