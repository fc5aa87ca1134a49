"""The page of a person's devices, the installable app, and what its service worker posts: receipts and answers."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
from aiohttp import web

from process.settings import Secret
from process.web import problem, read_body, whole_number
from receiver.actions.answer import ActionResult, Actions, ActionSource, Request
from receiver.channels.base import SendError
from receiver.incident.event import Acknowledge
from receiver.incident.model import SOMEBODY, Failure, Origin
from receiver.messages.i18n import Reader
from receiver.messages.link import Grant, LinkError, Refusal, read
from receiver.policy.current import Current
from receiver.store.access import AccessStore
from receiver.store.audit import Act
from receiver.store.base import Store, StoreError
from receiver.store.push import MOST_DEVICES, DeviceState, PushStore, Subscription
from receiver.store.unreadable import UnreadableError
from receiver.web.access.guard import needs
from receiver.web.access.viewer import ADDRESS, Role, Viewer
from receiver.web.console.acts import Said, said_text
from receiver.web.console.layout import Layout, Viewing, view_of, viewing
from receiver.web.console.times import Times

_LIMIT = 8 * 1024  # bytes of what a browser posts
_ICONS = (192, 512)
_SYSTEMS = (
    *(("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("CrOS", "ChromeOS")),
    *(("Macintosh", "Mac"), ("Linux", "Linux")),
)
_BROWSERS = (("Edg", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
# The colours of the console's own style sheet.
_COLOURS = {"background_color": "#f6f7f9", "theme_color": "#0757ba"}
T = TypeVar("T")


@runtime_checkable
class Pusher(Protocol):
    """What the page needs of the channel `push`."""

    @property
    def public_key(self) -> str:
        """Give what a browser subscribes with."""

    def refusal(self, subscription: Subscription) -> str:
        """Say what is wrong with a subscription; "" if it can be pushed to."""

    async def send_test(  # what it says, and how
        self, person: str, title: str, body: str, url: str, now: datetime, *, quiet: bool = False
    ) -> Sequence[str]:
        """Push a test to each device; gives what went wrong with each, "" for nothing. SendError: there is none."""


class _Keys(msgspec.Struct, frozen=True):
    p256dh: str
    auth: str


class _Made(msgspec.Struct, frozen=True):
    """PushSubscription.toJSON() of a browser."""

    endpoint: str
    keys: _Keys
    replaces: str = ""  # the endpoint that this browser had before


class _Arrived(msgspec.Struct, frozen=True):
    device: str
    shown: bool = True


class _Pressed(msgspec.Struct, frozen=True):
    token: str


class Device(msgspec.Struct, frozen=True):
    """One line of the page."""

    id: str
    device: str
    created: datetime
    last_receipt: datetime | None
    gone: bool
    warning: str


class Site(NamedTuple):
    """What it is called, and what signs its links."""

    brand: str
    url: str
    link_secret: Secret
    valid_for: float  # seconds


class Devices:
    """See the routes; without a ``pusher`` there is nothing to allow."""

    def __init__(
        self,
        store: Store,
        pushes: PushStore,
        audit: AccessStore,
        actions: Actions,
        current: Current,
        *,
        layout: Layout,
        pusher: Pusher | None,
        site: Site,
    ) -> None:
        self._store, self._pushes, self._audit, self._actions, self._current = store, pushes, audit, actions, current
        self._layout, self._pusher, self._site = layout, pusher, site
        self._key = pusher.public_key if pusher is not None else ""  # made now, or we do not start

    def routes(self) -> list[web.RouteDef]:
        """List what is served to those who are signed in."""
        return [
            web.get("/me/devices", self.page),
            web.post("/me/devices", self.subscribe),
            web.post("/me/devices/test", self.test),
            web.post(r"/me/devices/{id:[0-9a-f]{64}}/remove", self.remove),
        ]

    def open_routes(self) -> list[web.RouteDef]:
        """List what a browser asks for without a session: it may have ended by the time that a page arrives."""
        routes = [web.get("/manifest.webmanifest", self.manifest)]
        if self._pusher is not None:
            routes += [
                web.get("/service-worker.js", self.worker),
                web.post("/push/receipt", self.receipt),
                web.post("/push/acknowledge", self.acknowledge),
            ]
        return routes

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET /me/devices: those of whoever looks, with what is wrong with them."""
        look = self._look(request)
        if (refused := self._refused(look)) is not None:
            return refused
        try:
            known = await self._pushes.subscriptions(look.viewer.person)
        except StoreError:
            return self._layout.problem(look, "refused_store", 503)
        say, person = look.reader.say, look.routing.people[look.viewer.person]
        is_paged = any(contact.channel == "push" for contact in person.contacts)
        warnings = [] if self._pusher else [say("devices_not_set_up")]
        if self._pusher and not is_paged:
            warnings.append(say("devices_not_paged"))
        if is_paged and not any(one.gone is None for one in known):
            warnings.append(say("devices_nowhere"))
        values = {
            "devices": [_device(one, look.reader, look.now) for one in known],
            "warnings": warnings,
            "notices": _notices(request.query.get("said", ""), look.reader),
            "key": self._key,
        }
        return self._layout.page("devices.html", look, values)

    @needs(Role.VIEWER)
    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        """POST /me/devices with what PushManager.subscribe() has given."""
        made, look = _decoded(await read_body(request, _LIMIT), _Made), self._look(request)
        if made is None or self._pusher is None or look.viewer.person not in look.routing.people:
            return problem(400, "not a subscription of a browser, or of nobody in `people`")
        subscription = Subscription(
            _id(made.endpoint),
            look.viewer.person,
            made.endpoint,
            made.keys.p256dh,
            made.keys.auth,
            device_name(request.headers.get("User-Agent", "")),
            look.now,
        )
        if wrong := self._pusher.refusal(subscription):
            return problem(422, f"{wrong}: not of a push service that channels.push.hosts allows, or not a key")
        try:
            await self._pushes.subscribe(subscription)
            if made.replaces not in {"", made.endpoint}:
                await self._pushes.unsubscribe(look.viewer.person, _id(made.replaces))
            await self._note(look, "device.add", subscription.id, subscription.device)
        except StoreError:
            return problem(503, "the store does not answer; try again")
        return web.json_response({"id": subscription.id}, status=201)

    @needs(Role.VIEWER)
    async def remove(self, request: web.Request) -> web.StreamResponse:
        """POST /me/devices/{id}/remove: pages go there no more."""
        look, number = self._look(request, 3), request.match_info["id"]
        try:
            if await self._pushes.unsubscribe(look.viewer.person, number):
                await self._note(look, "device.remove", number)
        except StoreError:
            return self._layout.problem(look, "refused_store", 503)
        raise web.HTTPSeeOther("../../devices?said=removed")

    @needs(Role.VIEWER)
    async def test(self, request: web.Request) -> web.StreamResponse:
        """POST /me/devices/test: pushes something to every device of whoever presses."""
        look = self._look(request, 2)
        if (refused := self._refused(look)) is not None:
            return refused
        reader, failed = look.reader, ["none"]
        if self._pusher is not None:
            try:
                title, body = reader.say("devices_test_title", brand=self._site.brand), reader.say("devices_test_body")
                url = f"{self._site.url.rstrip('/')}/me/devices"
                failed = [*await self._pusher.send_test(look.viewer.person, title, body, url, look.now)]
            except SendError as error:
                failed = [error.reason.value]
        said = f"tested.{failed.count('')}.{next(filter(None, failed), '')}"
        raise web.HTTPSeeOther(f"../devices?said={said}")

    async def manifest(self, _request: web.Request) -> web.StreamResponse:
        """GET /manifest.webmanifest: what lets the console be installed; says nothing of this site but its name."""
        icons = [
            {"src": f"./static/{self._layout.files.names[f'icon-{n}.png']}", "sizes": f"{n}x{n}", "type": "image/png"}
            for n in _ICONS
        ]
        app = {
            "name": self._site.brand,
            "short_name": self._site.brand[:20],
            "start_url": "./",
            "scope": "./",
            "id": "./",
        }
        return web.json_response(
            {**app, "display": "standalone", **_COLOURS, "icons": icons},
            content_type="application/manifest+json",
            headers={"Cache-Control": "no-cache"},
        )

    async def worker(self, _request: web.Request) -> web.StreamResponse:
        """GET /service-worker.js: at the console's own address, for that is its scope."""
        icon = self._layout.files.names["icon-192.png"]
        text = self._layout.files.text("service-worker.js").replace("__ICON__", icon)
        return web.Response(text=text, content_type="text/javascript", headers={"Cache-Control": "no-cache"})

    async def receipt(self, request: web.Request) -> web.StreamResponse:
        """POST /push/receipt: a push has arrived at a device; only it and we know its id."""
        arrived = _decoded(await read_body(request, _LIMIT), _Arrived)
        if arrived is None:
            return problem(400, "not a receipt")
        try:
            known = await self._pushes.note_receipt(arrived.device, self._actions.clock(), shown=arrived.shown)
        except StoreError:
            return problem(503, "the store does not answer")
        return web.Response(status=204) if known else problem(404, "no such device")

    async def acknowledge(self, request: web.Request) -> web.StreamResponse:
        """POST /push/acknowledge with the grant of the link: acknowledges, and says what became of it.

        The link is the credential, as it is in a mail: the session of the browser may have ended.
        """
        pressed = _decoded(await read_body(request, _LIMIT), _Pressed)
        if pressed is None:
            return problem(400, "not a grant")
        person = ""
        try:
            grant = read(pressed.token, self._site.link_secret.reveal(), self._actions.clock())
            person = grant.person
            return await self._acknowledged(request, grant)
        except LinkError as error:
            return self._said(request, error.person or person, error.refusal, 403)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return self._said(request, person, Refusal.INCOMPLETE, 403)
        except UnreadableError:
            return self._said(request, person, Refusal.UNREADABLE, 503)
        except StoreError:
            return self._said(request, person, Refusal.STORE, 503)

    async def _acknowledged(self, request: web.Request, grant: Grant) -> web.StreamResponse:
        if grant.person and self._current.routing.directory.key(grant.person) is None:
            raise LinkError(Refusal.LEFT)
        stored = await self._store.incident(grant.incident)
        if stored is None:
            return self._said(request, grant.person, Refusal.UNKNOWN, 404)
        refusal = grant.refusal(stored[0], await self._store.installation(), self._site.valid_for)
        if refusal is not None:
            return self._said(request, grant.person, refusal, 409)
        event = Acknowledge(grant.person or SOMEBODY, Origin.PUSH, stored[0].opening)
        asked = Request(via="push", ip=request.get(ADDRESS, ""))
        result, incident = await self._actions.act(ActionSource.PUSH, grant.incident, event, asked)
        if result is ActionResult.STUCK:
            return self._said(request, grant.person, Refusal.STUCK, 503)
        look = self._as(request, grant.person, grant.incident)
        text = said_text(Said("acknowledge", result.value, grant.incident), incident, look)
        return web.json_response({"result": result.value, "text": text})

    def _said(self, request: web.Request, person: str, refusal: Refusal, status: int) -> web.Response:
        text = self._as(request, person, 0).reader.say(f"refused_{refusal.value}")
        return web.json_response({"result": refusal.value, "text": text}, status=status)

    def _as(self, request: web.Request, person: str, incident: int) -> Viewing:
        routing = self._current.routing
        key = routing.directory.key(person) or person
        viewer = Viewer(key, routing.directory.name(key) if key else "", Role.RESPONDER, "link", incident)
        return view_of(viewer, request, routing, self._actions.clock(), 0)

    def _look(self, request: web.Request, levels: int = 1) -> Viewing:
        return viewing(request, self._current, self._actions.clock(), levels)

    def _refused(self, look: Viewing) -> web.Response | None:
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        if look.viewer.person not in look.routing.people:
            return self._layout.problem(look, "devices_nobody", 403)
        return None

    async def _note(self, look: Viewing, act: str, number: str, after: str = "") -> None:
        viewer = look.viewer
        line = Act(look.now, viewer.actor, viewer.via, look.address, act, f"device/{number[:12]}", after=after)
        await self._audit.note(line)


def _id(endpoint: str) -> str:
    return hashlib.sha256(endpoint.encode("utf-8", "replace")).hexdigest()


def device_name(agent: str) -> str:
    """Name a browser as people do: Chrome on Android."""
    system = next((name for word, name in _SYSTEMS if word in agent), "")
    browser = next((name for word, name in _BROWSERS if word in agent), "")
    return f"{browser} on {system}" if browser and system else browser or system or "Browser"


def _device(one: Subscription, reader: Reader, now: datetime) -> Device:
    return Device(one.id, one.device, one.created, one.last_receipt, one.gone is not None, _warning(one, reader, now))


def _warning(one: Subscription, reader: Reader, now: datetime) -> str:
    """Say why a page might not be seen there."""
    times = Times(reader, now)
    match one.state(now):
        case DeviceState.GONE:
            return reader.say("devices_gone", at=times.clock(one.gone or now))
        case DeviceState.BLOCKED:
            return reader.say("devices_blocked")
        case DeviceState.FAILING:
            return reader.say("devices_failing", count=one.failures)
        case DeviceState.SILENT:
            return reader.say("devices_silent", at=times.clock(one.waiting_since or now))
    return ""


def _notices(said: str, reader: Reader) -> list[str]:
    """Say what became of the form that led here."""
    changed = {"added": "devices_said_added", "removed": "devices_said_removed"}
    if said in changed:
        return [reader.say(changed[said])]
    word, _, rest = said.partition(".")
    count, _, reason = rest.partition(".")
    taken = whole_number(count, MOST_DEVICES)
    if word != "tested" or taken is None:
        return []
    texts = [reader.say("devices_said_tested", count=taken)] if taken else []
    if reason in set(Failure):
        texts.append(reader.say("devices_said_failed", reason=reader.say(f"failure_{reason}")))
    return texts


def _decoded(body: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
