"""The channel `push`: Web Push to the browsers in which a person has allowed it, encrypted for each of them.

RFC 8030 (TTL, Urgency, Topic), RFC 8291 (encryption), RFC 8292 (VAPID). The library encrypts and signs; we post
ourselves, as its own call follows redirects and reads an answer of any length. Whoever subscribes names the URL that we
post to: only hosts of push services that the settings allow.
"""

import asyncio
import base64
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
from py_vapid import Vapid02, VapidException
from pywebpush import WebPusher, WebPushException

from process.addresses import is_http, is_loopback, is_mail
from process.settings import Secret, Strict
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError, standing
from receiver.channels.declaration import Declaration, Place, Setup, Timeout
from receiver.channels.http_call import failure, post
from receiver.incident.model import Kind
from receiver.store.base import StoreError
from receiver.store.push import PushOutcome, PushStore, Subscription

log = logging.getLogger(__name__)

LARGEST = 3993  # bytes that fit into the 4096 of every push service; encryption adds 103
HOSTS = ("fcm.googleapis.com", "updates.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com")
_SHORTEST_LIFE, _LONGEST_LIFE = 60.0, 4 * 3600.0  # seconds that a page waits for a device that is away
_NEWS_LIFE = 24 * 3600.0
_SIGNED_FOR = timedelta(hours=12)  # RFC 8292 allows 24
_URGENT = {Kind.PAGE, Kind.REMINDER}
_TITLE, _WORD, _URL = 160, 80, 1500  # characters
_POINT, _AUTH = 65, 16  # bytes
_GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


class Settings(Strict, frozen=True):
    """`channels.push`: browsers of people with `push: true`; needs the extra `push`."""

    contact: str = ""
    """Whom a push service writes to about our pushes, `mailto:` or `https:`; the host of `external_url`, if empty"""
    vapid_key: Path | None = None
    """File of the key that signs, which is made once; `vapid.pem` beside the database, if empty"""
    hosts: tuple[str, ...] = HOSTS
    """Hosts of push services that a browser may name; `*.` stands for any name below. An own service is a whole `https://push.example.com:8443`."""
    timeout: Timeout = Timeout(10)
    """Time for one attempt, at most 60s"""


class Words(msgspec.Struct, frozen=True):
    """What the notification says on the device."""

    title: str
    body: str
    acknowledge: str = ""  # the button; empty for none
    failed: str = ""


class Payload(msgspec.Struct, frozen=True):
    """What the service worker gets: receiver/web/console/static/service-worker.js."""

    device: str  # the subscription's id, by which the worker says that this has arrived
    kind: str
    tag: str  # what follows replaces what has the same
    urgent: bool
    url: str  # its last part is the grant that Acknowledge posts
    words: Words
    priority: str = ""
    number: int = 0
    sent: int = 0  # seconds since 1970


class Delivery(NamedTuple):
    """How a push service treats one push."""

    life: float  # seconds
    urgency: Literal["high", "normal"]
    topic: str


class Push:
    """Sends to each device of a person; ``key`` gives the key that signs, and makes it if there is none."""

    def __init__(  # what a push is signed and sent with
        self,
        devices: PushStore | None,
        session: aiohttp.ClientSession,
        key: Callable[[], Vapid02],
        *,
        contact: str,
        hosts: Sequence[str] = HOSTS,
        timeout: float = 10,
    ) -> None:
        self._devices, self._session, self._key = devices, session, key
        self._contact, self._hosts, self._timeout = contact, tuple(hosts), timeout

    @property
    def public_key(self) -> str:
        """Give what a browser subscribes with: `applicationServerKey`."""
        point = self._key().public_key.public_numbers()
        raw = b"\x04" + point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    async def send(self, message: Message) -> Receipt:
        """Push once to each device; it is sent when one push service has taken it."""
        devices = await self._live(message.address)
        made = partial(payload, message)
        errors = await self._push(devices, made, delivery(message), message.sent_at)
        if all(error is not None for error in errors):
            raise _whole(errors)
        return Receipt()

    async def send_test(  # what it says, and how
        self, person: str, title: str, body: str, url: str, now: datetime, *, quiet: bool = False
    ) -> Sequence[str]:
        """Push a test to each device of a person; gives what went wrong with each, "" for nothing.

        A ``quiet`` one makes no sound, and waits for a device that is away.
        """
        words = Words(title[:_TITLE], body)
        made = partial(
            _payload, Payload("", "test", "test", urgent=not quiet, url=url, words=words, sent=_seconds(now))
        )
        devices = await self._live(person)
        how = (
            Delivery(_NEWS_LIFE, "normal", topic("test")) if quiet else Delivery(_SHORTEST_LIFE, "high", topic("test"))
        )
        errors = await self._push(devices, made, how, now)
        return ["" if error is None else error.reason.value for error in errors]

    def refusal(self, subscription: Subscription) -> str:
        """Say what is wrong with a subscription that a browser has sent; "" if it can be pushed to."""
        if not is_allowed(subscription.endpoint, self._hosts):
            return "endpoint"
        try:
            _encrypted(subscription, b"{}")
        except (WebPushException, ValueError, TypeError):
            return "keys"
        return ""

    async def _live(self, person: str) -> list[Subscription]:
        """Give those that may be pushed to; none is a way that does not exist, so that another one is looked for."""
        try:
            known = await self._devices.subscriptions(person) if self._devices else ()
        except StoreError as error:
            raise SendError(f"cannot read the devices: {type(error).__name__}", Failure.INTERNAL) from None
        live = [one for one in known if one.gone is None and is_allowed(one.endpoint, self._hosts)]
        if not live:
            raise SendError("no device allows notifications", Failure.BAD_ADDRESS, permanent=True)
        return live

    async def _push(
        self,
        devices: Sequence[Subscription],
        made: Callable[[Subscription], bytes],
        how: Delivery,
        now: datetime,
    ) -> list[SendError | None]:
        errors = await asyncio.gather(*(self._one(device, made(device), how, now) for device in devices))
        outcomes = {device.id: _outcome(error) for device, error in zip(devices, errors, strict=True)}
        try:
            if self._devices is not None:
                await self._devices.note_pushes(outcomes, now)
        except StoreError:
            log.warning("cannot store what became of %d pushes", len(outcomes))  # what has been sent is not sent again
        return errors

    async def _one(self, device: Subscription, content: bytes, how: Delivery, now: datetime) -> SendError | None:
        host = urlsplit(device.endpoint).netloc
        try:
            body = _encrypted(device, content)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Encoding": "aes128gcm",
                "TTL": str(int(how.life)),
                "Urgency": how.urgency,
                "Topic": how.topic,
                **_signed(self._key(), device.endpoint, self._contact, now),
            }
            answer = await post(self._session, host, Secret(device.endpoint), body, headers, self._timeout)
        except SendError as error:
            return error
        except (WebPushException, VapidException, ValueError, TypeError) as error:
            return SendError(f"{host}: {type(error).__name__}", Failure.BAD_ADDRESS, permanent=True)
        if answer.status in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
            return None
        if answer.status in _GONE:
            return _GoneError(host)
        return failure(f"{host} answered {answer.status}", answer.status, answer.retry_after)


class _GoneError(SendError):
    """The subscription is over; the browser has to be asked again."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} has dropped the device", Failure.BAD_ADDRESS, permanent=True)


def _outcome(error: SendError | None) -> PushOutcome:
    if error is None:
        return PushOutcome.ACCEPTED
    return PushOutcome.GONE if isinstance(error, _GoneError) else PushOutcome.FAILED


def _whole(errors: Sequence[SendError | None]) -> SendError:
    """Make one error of those of all devices: what may pass is tried again."""
    failed = [error for error in errors if error is not None]
    passing = [error for error in failed if not error.permanent]
    return max(passing, key=lambda error: error.retry_after or 0.0) if passing else failed[0]


def is_allowed(endpoint: str, hosts: Sequence[str]) -> bool:
    """Say whether we may post to what a browser has named: by https to a push service's name, or to an own service."""
    if len(endpoint) > _URL or not endpoint.isascii() or not is_http(endpoint):
        return False
    parts = urlsplit(endpoint)
    if f"{parts.scheme}://{parts.netloc}" in hosts:
        return True
    if parts.scheme != "https" or parts.netloc.removesuffix(":443") != parts.hostname:
        return False
    return any(_is_host(parts.hostname, allowed) for allowed in hosts)


def _is_host(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def delivery(message: Message) -> Delivery:
    """Say how long a push may wait for a device that is away: a page until the next step, when others are paged."""
    if message.kind not in _URGENT:
        return Delivery(_NEWS_LIFE, "normal", topic(message.incident))
    left = (message.next_step_at - message.sent_at).total_seconds() if message.next_step_at else _LONGEST_LIFE
    return Delivery(min(max(left, _SHORTEST_LIFE), _LONGEST_LIFE), "high", topic(message.incident))


def topic(incident: str) -> str:
    """Name an incident in 32 characters: a push that waits is replaced by the next one of the same."""
    return base64.urlsafe_b64encode(hashlib.sha256(incident.encode()).digest())[:32].decode()


def payload(message: Message, device: Subscription) -> bytes:
    """Write what the worker shows; Acknowledge is offered for one incident that nobody has."""
    link = next((link.url for link in message.links if len(link.url) <= _URL), "")
    open_yet = message.number > 0 and standing(message) == "triggered"
    words = Words(
        message.headline[:_TITLE],
        message.text,
        message.words.acknowledge[:_WORD] if open_yet else "",
        message.words.not_acknowledged[:_WORD],
    )
    made = Payload(
        "",
        message.kind.value,
        topic(message.incident),
        urgent=message.kind in _URGENT,
        url=link,
        words=words,
        priority=message.priority,
        number=message.number,
        sent=_seconds(message.sent_at),
    )
    return _payload(made, device)


def _payload(made: Payload, device: Subscription) -> bytes:
    """Write it for one device, and cut the text so that it fits."""
    made = msgspec.structs.replace(made, device=device.id)
    body, content = made.words.body[:LARGEST], msgspec.json.encode(made)
    while len(content) > LARGEST and body:
        body = body[: len(body) // 2] if len(body) > 16 else ""  # noqa: PLR2004  # what is shorter says nothing
        words = msgspec.structs.replace(made.words, body=f"{body}…" if body else "")
        content = msgspec.json.encode(msgspec.structs.replace(made, words=words))
    return content


def _encrypted(device: Subscription, content: bytes) -> bytes:
    """Encrypt for one device; ValueError for keys that are none: the library fails at them in many ways."""
    for text, length in ((device.p256dh, _POINT), (device.auth, _AUTH)):
        if not text.isascii() or len(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) != length:
            raise ValueError("not a key")
    info = {"endpoint": device.endpoint, "keys": {"p256dh": device.p256dh, "auth": device.auth}}
    body: bytes = WebPusher(info).encode(content, "aes128gcm")["body"]
    return body


def _signed(key: Vapid02, endpoint: str, contact: str, now: datetime) -> dict[str, str]:
    """Sign who we are for one push service; the claims are made anew each time, for each has its own audience."""
    parts = urlsplit(endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": _seconds(now + _SIGNED_FOR), "sub": contact}
    signed: dict[str, str] = key.sign(claims)
    return signed


def _seconds(when: datetime) -> int:
    return int(when.timestamp())


def open_key(path: Path, place: Place) -> Vapid02:
    """Read the key that signs, or make it: a file that only we can read, whole from the first moment."""
    try:
        if not path.exists():
            _write_key(path, _new_key())
        if path.stat().st_mode & 0o077:
            log.warning("%s: others can read the key that signs pushes; chmod 600", path)
        return Vapid02.from_pem(path.read_bytes())
    except (OSError, ValueError, VapidException) as error:
        raise place.error(".vapid_key", f"cannot use {path} ({type(error).__name__})") from None


def own_key(path: Path) -> bytes:
    """Give the key that signs, or a new one if there is none yet."""
    return path.read_bytes() if path.exists() else _new_key()


def take_key(path: Path, key: bytes) -> None:
    """Sign with this key, which all receivers of one database have agreed on: the file is a copy of it."""
    if path.exists() and path.read_bytes() != key:
        log.warning("%s is replaced by the key that the other receivers sign with", path)
        path.unlink()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_key(path, key)


def _new_key() -> bytes:
    key = Vapid02()
    key.generate_keys()
    pem: bytes = key.private_pem()
    return pem


def _write_key(path: Path, pem: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(pem)
        opened.flush()
        os.fsync(opened.fileno())
    try:
        path.hardlink_to(new)  # what another process has made meanwhile stays
    except FileExistsError:
        log.info("%s was made by another process", path)
    new.unlink()


def _contact(settings: Settings, setup: Setup) -> str:
    """Give the `sub` of our claims: Apple refuses all pushes of one that is not of the real Internet."""
    parts = urlsplit(setup.external_url)
    contact = settings.contact or f"https://{parts.hostname}"
    host = contact.rpartition("@")[2] if contact.startswith("mailto:") else urlsplit(contact).hostname or ""
    if not settings.contact and (parts.scheme != "https" or not _is_real(host)):
        text = "missing; external_url is no public https URL, so set mailto: with an address of yours"
        raise setup.place.error(".contact", text)
    return contact


def _is_real(host: str) -> bool:
    private = host.endswith((".local", ".localhost", ".internal", ".lan", ".home.arpa"))
    return "." in host and not private and not is_loopback(host) and not host.replace(".", "").isdigit()


def _check(settings: Settings, place: Place) -> None:
    contact = settings.contact
    if contact.startswith("mailto:"):
        right = is_mail(contact.removeprefix("mailto:")) and _is_real(contact.rpartition("@")[2])
    else:
        parts = urlsplit(contact)
        right = not contact or (contact == f"https://{parts.hostname}" and _is_real(parts.hostname or ""))
    if not right:
        raise place.error(".contact", "invalid contact (expected e.g. mailto:ops@example.com, or https://example.com)")
    for number, host in enumerate(settings.hosts):
        name = host.removeprefix("*.")
        if not (is_http(host) if "://" in host else name and "/" not in name and "*" not in name):
            text = f"invalid host {host!r} (expected e.g. *.push.apple.com, or https://push.example.com)"
            raise place.error(f".hosts[{number}]", text)


def _build(settings: Settings, setup: Setup) -> Channel:
    path = settings.vapid_key or setup.folder / "vapid.pem"
    key = cache(partial(open_key, path, setup.place))
    if path.exists():
        key()
    contact = _contact(settings, setup)
    return Push(
        setup.devices, setup.session, key, contact=contact, hosts=settings.hosts, timeout=float(settings.timeout)
    )


CHANNEL = Declaration(
    settings=Settings,
    build=_build,
    check=_check,
    wrong_address=lambda _settings, _address: "set `push: true` on a person instead",
    host_of=lambda _settings, address: address,
    read_by_people=True,
)
