"""Web Push: what a browser decrypts, what a push service is told, and what becomes of devices."""

import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from py_vapid import Vapid02

from process.settings import SettingsError
from receiver.__main__ import main
from receiver.channels.base import Failure, Link, Message, SendError
from receiver.channels.declaration import Place
from receiver.channels.push import HOSTS, LARGEST, Push, is_allowed, open_key, payload
from receiver.config.load import load
from receiver.incident.model import Kind
from receiver.store.push import MOST_DEVICES, DeviceState, PushOutcome
from receiver.store.sql.store import SQLStore
from tests.fakes.push import FakePush
from tests.receiver.channels.test_channels import message
from tests.receiver.channels.test_registry import MAIL, written
from tests.receiver.example_site import START, Clock, a_store

KEY = Vapid02()
KEY.generate_keys()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLStore]:
    made = await a_store(tmp_path, Clock())
    yield made
    await made.close()


@pytest.fixture
async def service() -> AsyncIterator[FakePush]:
    server = FakePush()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def push(store: SQLStore, service: FakePush) -> AsyncIterator[Push]:
    async with aiohttp.ClientSession() as session:
        yield made(store, service, session, timeout=20)


def made(store: SQLStore, service: FakePush, session: aiohttp.ClientSession, timeout: float) -> Push:
    return Push(
        store.push, session, lambda: KEY, contact="mailto:ops@example.com", hosts=[service.url], timeout=timeout
    )


def page(**changes: object) -> Message:
    due = START + timedelta(minutes=15)
    return message(Kind.PAGE, **{"address": "linh", "number": 12, "state": "triggered", "next_step_at": due} | changes)


async def refused(push: Push, sent: Message) -> tuple[Failure, bool]:
    with pytest.raises(SendError) as caught:
        await push.send(sent)
    assert "/push/" not in str(caught.value)  # whoever knows the rest of the URL may push
    return caught.value.reason, caught.value.permanent


async def test_each_device_decrypts_the_page(push: Push, service: FakePush, store: SQLStore) -> None:
    for name in ("phone", "laptop"):
        await store.push.subscribe(service.subscribe(name))
    await store.push.subscribe(service.subscribe("other", "marek"))
    await push.send(page())
    assert {call.path for call in service.calls} == {"/push/phone", "/push/laptop"}
    for call in service.calls:
        shown = service.read(call)
        device = next(one for one in await store.push.subscriptions("linh") if one.device in call.path)
        assert shown == {
            "device": device.id,
            "kind": "page",
            "tag": call.headers["Topic"],
            "urgent": True,
            "url": "https://oncall.example.com/answer/abc.def",
            "words": {
                "title": "P1 #12 HighErrorRate: High error rate detected",
                "body": "12% of requests fail.",
                "acknowledge": "Acknowledge",
                "failed": "Not acknowledged. Tap to open.",
            },
            "priority": "P1",
            "number": 12,
            "sent": int(START.timestamp()),
        }
        assert (call.headers["TTL"], call.headers["Urgency"]) == ("900", "high")
        assert service.claims(call.headers["Authorization"]) == {
            "aud": service.url,
            "exp": int(START.timestamp()) + 12 * 3600,
            "sub": "mailto:ops@example.com",
        }
        assert (device.last_ok, device.waiting_since) == (START, START)


async def test_news_wait_a_day_and_offer_no_button(push: Push, service: FakePush, store: SQLStore) -> None:
    await store.push.subscribe(service.subscribe())
    await push.send(message(Kind.RESOLVED, address="linh", number=12, state="resolved"))
    (call,) = service.calls
    assert (call.headers["TTL"], call.headers["Urgency"]) == ("86400", "normal")
    shown = service.read(call)
    assert (shown["words"]["acknowledge"], shown["urgent"]) == ("", False)


@pytest.mark.parametrize("text", ["ä" * 100_000, "\n\x00\u2028" * 30_000, "💥" * 50_000, '"' * 9000])
async def test_the_largest_page_fits(push: Push, service: FakePush, store: SQLStore, text: str) -> None:
    device = service.subscribe()
    link = (Link("Open", f"https://oncall.example.com/answer/{'a' * 1450}"),)
    words = msgspec.structs.replace(page().words, acknowledge=text, not_acknowledged=text)
    sent = page(text=text, headline=text, links=link, words=words)
    assert len(payload(sent, device)) <= LARGEST
    await store.push.subscribe(device)
    await push.send(sent)
    assert service.read(service.calls[0])["url"] == link[0].url


@pytest.mark.parametrize("status", [404, 410])
async def test_a_device_that_is_gone_is_forgotten_and_another_way_looked_for(
    push: Push, service: FakePush, store: SQLStore, status: int
) -> None:
    await store.push.subscribe(service.subscribe())
    service.statuses["/push/phone"] = status
    for _ in range(2):
        assert await refused(push, page()) == (Failure.BAD_ADDRESS, True)
    assert len(service.calls) == 1
    (gone,) = await store.push.subscriptions("linh")
    assert (gone.gone, gone.endpoint, gone.auth) == (START, "", "")
    again = service.subscribe()
    del service.statuses["/push/phone"]
    await store.push.subscribe(again)
    await push.send(page())


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [
        (413, Failure.REFUSED, True),
        (400, Failure.REFUSED, True),
        (403, Failure.AUTH, True),
        (429, Failure.RATE_LIMITED, False),
        (500, Failure.SERVER_ERROR, False),
        (503, Failure.SERVER_ERROR, False),
        (302, Failure.REFUSED, True),
    ],
)
async def test_what_a_push_service_refuses(
    push: Push, service: FakePush, store: SQLStore, status: int, reason: Failure, *, permanent: bool
) -> None:
    await store.push.subscribe(service.subscribe())
    service.misfortunes = [(status, {"Retry-After": "17", "Location": f"{service.url}/elsewhere"})]
    with pytest.raises(SendError) as caught:
        await push.send(page())
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
    assert caught.value.retry_after == (17 if status == 429 else None)
    assert [call.path for call in service.calls] == ["/push/phone"]  # no redirect is followed
    assert [one.failures for one in await store.push.subscriptions("linh")] == [1]


async def test_one_device_that_works_is_enough(push: Push, service: FakePush, store: SQLStore) -> None:
    for device in ("phone", "laptop", "old"):
        await store.push.subscribe(service.subscribe(device))
    service.statuses |= {"/push/laptop": 500, "/push/old": 410}
    await push.send(page())
    known = {one.device: one for one in await store.push.subscriptions("linh")}
    assert (known["phone"].last_ok, known["laptop"].failures, known["old"].gone) == (START, 1, START)


async def test_what_may_pass_is_tried_again_although_other_devices_are_gone(
    push: Push, service: FakePush, store: SQLStore
) -> None:
    for device in ("phone", "old"):
        await store.push.subscribe(service.subscribe(device))
    service.statuses |= {"/push/phone": 500, "/push/old": 410}
    assert await refused(push, page()) == (Failure.SERVER_ERROR, False)


async def test_a_push_service_that_hangs_is_given_up(service: FakePush, store: SQLStore) -> None:
    await store.push.subscribe(service.subscribe())
    service.hang = 60.0
    async with aiohttp.ClientSession() as session:
        assert await refused(made(store, service, session, timeout=0.5), page()) == (Failure.TIMEOUT, False)


async def test_nobody_is_pushed_to_who_has_no_device(push: Push) -> None:
    assert await refused(push, page()) == (Failure.BAD_ADDRESS, True)


async def test_broken_keys_are_no_way(push: Push, service: FakePush, store: SQLStore) -> None:
    broken = msgspec.structs.replace(service.subscribe(), p256dh="AAAA")
    assert push.refusal(broken) == "keys"
    assert push.refusal(msgspec.structs.replace(broken, p256dh="ÄÖ", auth="%")) == "keys"
    assert push.refusal(service.subscribe()) == ""
    await store.push.subscribe(broken)
    assert await refused(push, page()) == (Failure.BAD_ADDRESS, True)
    assert service.calls == []


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [
        ("https://fcm.googleapis.com/fcm/send/abc", True),
        ("https://fcm.googleapis.com:443/fcm/send/abc", True),
        ("https://updates.push.services.mozilla.com/wpush/v2/abc", True),
        ("https://web.push.apple.com/abc", True),
        ("https://db5p.notify.windows.com/w/?token=abc", True),
        ("http://fcm.googleapis.com/fcm/send/abc", False),
        ("https://fcm.googleapis.com:8443/abc", False),
        ("https://fcm.googleapis.com.example.com/abc", False),
        ("https://evilfcm.googleapis.com/abc", False),
        ("https://evilpush.apple.com/abc", False),
        ("https://push.apple.com/abc", False),
        ("https://fcm.googleapis.com@10.0.0.1/abc", False),
        ("https://fcm.googleapis.com\\@10.0.0.1/abc", False),
        ("https://fcm.googleapis.com\n/abc", False),
        ("https://10.0.0.1/abc", False),
        ("https://[::1]/abc", False),
        ("http://169.254.169.254/latest", False),
        ("https://localhost/abc", False),
        ("https://fcm.googleapis.com/" + "a" * 2000, False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_only_push_services_are_posted_to(endpoint: str, *, allowed: bool) -> None:
    assert is_allowed(endpoint, HOSTS) is allowed


def test_an_own_service_is_named_whole() -> None:
    own = ("http://127.0.0.1:8080",)
    assert is_allowed("http://127.0.0.1:8080/push/x", own)
    assert not is_allowed("http://127.0.0.1:8081/push/x", own)
    assert not is_allowed("http://127.0.0.1:8080@10.0.0.1/push/x", own)


def test_the_key_is_made_once_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "vapid.pem"
    path.parent.mkdir()
    place = Place(load(written(tmp_path, {"channels": {"log": {}}}))[1], "push")
    made = open_key(path, place)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_key(path, place).private_pem() == made.private_pem()
    assert list(path.parent.iterdir()) == [path]
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(SettingsError, match=r"channels\.push\.vapid_key: cannot use"):
        open_key(path, place)


async def test_a_person_has_so_many_devices_and_those_that_are_gone_go_first(
    store: SQLStore, service: FakePush
) -> None:
    made = [
        msgspec.structs.replace(service.subscribe(f"d{at}"), created=START + timedelta(minutes=at))
        for at in range(MOST_DEVICES + 1)
    ]
    for one in made[:-1]:
        await store.push.subscribe(one)
    assert await store.push.note_receipt(made[0].id, START + timedelta(days=1), shown=True)
    await store.push.subscribe(made[-1])
    assert {one.device for one in await store.push.subscriptions("linh")} == {one.device for one in made} - {"d1"}
    assert not await store.push.note_receipt("0" * 64, START, shown=True)


async def test_a_device_that_is_added_again_starts_anew(store: SQLStore, service: FakePush) -> None:
    device, later = service.subscribe(), START + timedelta(days=1)
    await store.push.subscribe(device)
    for outcome in (PushOutcome.ACCEPTED, PushOutcome.FAILED, PushOutcome.GONE):
        await store.push.note_pushes({device.id: outcome}, START)
    await store.push.note_receipt(device.id, START, shown=False)
    await store.push.note_pushes({device.id: PushOutcome.ACCEPTED}, START)
    await store.push.subscribe(msgspec.structs.replace(device, created=later))
    (known,) = await store.push.subscriptions("linh")
    assert (known.state(later), known.created, known.endpoint) == (DeviceState.WORKING, later, device.endpoint)


async def test_a_device_belongs_to_whoever_subscribed_last(store: SQLStore, service: FakePush) -> None:
    await store.push.subscribe(service.subscribe())
    theirs = service.subscribe(person="marek")
    await store.push.subscribe(theirs)
    assert await store.push.subscriptions("linh") == []
    assert not await store.push.unsubscribe("linh", theirs.id)
    assert await store.push.unsubscribe("marek", theirs.id)
    await store.push.subscribe(theirs)
    await store.push.forget_devices("marek")
    assert await store.push.subscriptions("marek") == []


@pytest.mark.parametrize(
    ("person", "says"),
    [
        ({"push": True}, "people.linh.push: the only contact for a P1 must not be push"),
        (
            {"push": True, "email": "linh@example.com", "rules": [{"channels": ["push"]}]},
            "people.linh.rules[0].channels: a P1 must not go to push alone",
        ),
    ],
)
def test_push_is_never_the_only_way_for_a_p1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], person: dict[str, Any], says: str
) -> None:
    path = written(tmp_path, {"channels": {"push": {}, "email": MAIL}, "people": {"linh": {"name": "Linh", **person}}})
    assert main(["check", f"--config.file={path}"]) == 1
    assert says in capsys.readouterr().err
    load(path)  # a receiver that runs with it goes on: a page by push is better than none


@pytest.mark.parametrize(
    ("settings", "person", "says"),
    [
        ({}, {"contacts": {"push": "linh"}}, "people.linh.contacts.push: set `push: true` on a person instead"),
        ({"console": {"enabled": False}}, {"push": True}, "channels.push: needs the console"),
    ],
)
def test_push_that_nobody_could_switch_on_is_refused(
    tmp_path: Path, settings: dict[str, Any], person: dict[str, Any], says: str
) -> None:
    people = {"linh": {"name": "Linh", "email": "linh@example.com", **person}}
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, {"channels": {"push": {}, "email": MAIL}, "people": people, **settings}))
    assert says in str(caught.value)


def test_push_beside_another_way_is_a_contact(tmp_path: Path) -> None:
    low = {"channels": ["push"], "priorities": ["P3", "P4"]}
    person = {"name": "Linh", "push": True, "email": "linh@example.com", "rules": [low]}
    config, _ = load(written(tmp_path, {"channels": {"push": {}, "email": MAIL}, "people": {"linh": person}}))
    assert config.people["linh"].ways("linh") == (("email", "linh@example.com"), ("push", "linh"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"contact": "ops@example.com"}, "channels.push.contact: invalid contact"),
        ({"contact": "mailto:ops@receiver.local"}, "channels.push.contact: invalid contact"),
        ({"contact": "https://localhost"}, "channels.push.contact: invalid contact"),
        ({"hosts": ["*"]}, "channels.push.hosts[0]: invalid host"),
        ({"hosts": ["push.example.com/x"]}, "channels.push.hosts[0]: invalid host"),
    ],
)
def test_what_push_services_would_refuse_is_refused(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    person = {"name": "Linh", "push": True, "email": "linh@example.com"}
    path = written(tmp_path, {"channels": {"push": settings, "email": MAIL}, "people": {"linh": person}})
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert says in str(caught.value)


def test_push_without_its_channel_is_refused(tmp_path: Path) -> None:
    person = {"name": "Linh", "push": True, "email": "linh@example.com"}
    with pytest.raises(SettingsError, match=r"people\.linh\.push: channels\.push is not set up"):
        load(written(tmp_path, {"channels": {"email": MAIL}, "people": {"linh": person}}))


def test_check_makes_no_key_and_says_whom_push_services_could_not_write_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    person = {"name": "Linh", "push": True, "email": "linh@example.com"}
    tokens = {name: {"token": name * 10} for name in ("webhook", "api")}
    settings = {"channels": {"push": {}, "email": MAIL}, "people": {"linh": person}, **tokens}
    path = written(tmp_path, settings)
    assert main(["check", "--secrets", f"--config.file={path}"]) == 0
    assert list(tmp_path.glob("*.pem")) == []
    for url in ("http://oncall.example.com", "https://oncall.local", "https://10.0.0.1"):
        path = written(tmp_path, {**settings, "external_url": url})
        assert main(["check", "--secrets", f"--config.file={path}"]) == 1
        assert "channels.push.contact: missing; external_url is no public https URL" in capsys.readouterr().err
