"""The channel `pagerduty`: Events API v2, an alert for each role that is paged; or incidents over the REST API.

developer.pagerduty.com/docs/events-api-v2/trigger-events. PagerDuty takes the event and works later: a resolve must
not overtake its trigger, which the order within a lane sees to. The REST API (developer.pagerduty.com/api-reference)
is what the document asks for; it is made for people and rate-limited accordingly, so mode `events` is the better one.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import aiohttp
import msgspec
import pagerduty

from process.settings import Secret, Strict
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError
from receiver.channels.declaration import Declaration, Place, Setup, Timeout, unknown_name
from receiver.channels.http_call import failure
from receiver.channels.send_rate import PATIENCE, Pace
from receiver.clients.pagerduty import PagerDutyCalls, PagerDutyError, Region, base_url
from receiver.incident.model import Kind

V = TypeVar("V")

DEDUP_KEY = 255  # characters; the longest that PagerDuty takes
# Characters. PagerDuty takes a summary of 1,024 and an event of 512 KB, of which one character may be twelve bytes.
SUMMARY, DETAIL, DETAILS = 1024, 12_000, 36_000
TITLE, NOTE = 1024, 20_000  # characters, of the REST API
_COMPONENTS = ("service", "component", "job", "instance")  # labels, the telling ones first
_SOURCES = ("instance", "host", "node", "pod", "job", "service", "namespace", "cluster")  # labels, the closest first
_ACTIONS = {Kind.PAGE: "trigger", Kind.ACKNOWLEDGED: "acknowledge", Kind.RESOLVED: "resolve"}
_STATES = {Kind.ACKNOWLEDGED: "acknowledged", Kind.RESOLVED: "resolved"}


class Service(Strict, frozen=True):
    """One PagerDuty service: its integration's key (mode events) or its id (mode rest)."""

    routing_key: Secret | None = None
    """Key of the integration, for mode `events`"""
    routing_key_file: Path | None = None
    service_id: str = ""
    """Id of the service, for mode `rest`, e.g. PABC123"""


class Settings(Strict, frozen=True):
    """`channels.pagerduty`: services, and how they are called."""

    services: Annotated[dict[str, Service], msgspec.Meta(min_length=1)]
    """Services, by the names that people and teams use"""
    mode: Literal["events", "rest"] = "events"
    """Events API v2, or incidents over the REST API"""
    region: Region = "us"
    """Region of the account"""
    api_token: Secret | None = None
    """Token of the REST API, for mode `rest`, and for reading answers and notes"""
    api_token_file: Path | None = None
    webhook_secret: Secret | None = None
    """Signs the webhooks by which PagerDuty reports answers"""
    webhook_secret_file: Path | None = None
    single_pages: Annotated[int, msgspec.Meta(ge=0, le=100)] = 5
    """Pages of a service in one `grouping_window` that ring alone; 0: all"""
    from_: str = msgspec.field(default="", name="from")
    """Mail address of a PagerDuty user in whose name incidents (mode `rest`) and notes are written"""
    api_url: str = ""
    """Address of your own proxy; PagerDuty's, if empty"""
    timeout: Timeout = Timeout(10)
    """Time for one attempt, at most 60s"""


class PagerDutyEvents:
    """Events API v2: ``keys`` maps our services to the routing keys of their integrations."""

    def __init__(
        self,
        keys: dict[str, Secret],
        session: aiohttp.ClientSession,
        *,
        region: Region = "us",
        timeout: float = 10,
        api_url: str = "",
        client_url: str = "",
        pace: Pace | None = None,
        notes: "PagerDutyNotes | None" = None,
    ) -> None:
        """``notes`` writes what an event has no room for, where the REST API may be used, too."""
        self._notes = notes
        # developer.pagerduty.com/docs/events-api-v2/overview: about 120 calls a minute for each key.
        self._pace = pace or Pace(0.6, 20)
        self._calls, self._client_url = PagerDutyCalls(session, timeout, api_url), client_url
        make, base = pagerduty.EventsApiV2Client, base_url(region, "events")
        self._clients = {name: self._calls.client(make, key, base_url=base) for name, key in keys.items()}

    def close(self) -> None:
        """Release connections and threads."""
        self._calls.close()
        if self._notes is not None:
            self._notes.close()

    async def send(self, message: Message) -> Receipt:
        """Trigger, acknowledge or resolve the alert of this lane.

        An event has no notes, and a trigger on an open key does not ring again: without the REST API, updates have
        nothing to be sent as, and the alert keeps ringing by PagerDuty's own escalation policy.
        """
        if message.kind not in _ACTIONS:
            key = _known_key(message) or dedup_key(message)
            if self._notes is not None and message.kind is Kind.UPDATE:
                await self._notes.write(message, key)
            return Receipt(ref=key)
        client = _configured(self._clients, message.address)
        await self._pace.turn(message.address, PATIENCE, urgent=message.priority == "P1")
        properties = self._trigger(message) if message.kind is Kind.PAGE else {}
        action, key = _ACTIONS[message.kind], _known_key(message) or dedup_key(message)
        try:
            await self._calls.run(client.send_event, action, dedup_key=key, **properties)
        except PagerDutyError as error:
            raise _send_error(error) from None
        return Receipt(ref=key)

    def _trigger(self, message: Message) -> dict[str, object]:
        payload = {
            "summary": message.headline[:SUMMARY],
            "source": _source(message),
            "severity": message.severity,
            "timestamp": message.sent_at.isoformat(),
            **_place(message.labels),
            "custom_details": _details(message),
        }
        links = [{"href": link.url, "text": link.label} for link in message.links]
        client = {"client": message.brand.name, "client_url": self._client_url} if self._client_url else {}
        # "This image must be served via HTTPS": another one would make the event invalid.
        chart = message.picture.url if message.picture else ""
        shown = ((chart, "The chart"), (message.image_url, "The dashboard"))
        listed = [{"src": url, "alt": alt} for url, alt in shown if url.startswith("https://")]
        images = {"images": listed} if listed else {}
        return {"payload": payload, "links": links, **images, **client}


class PagerDutyNotes:
    """Writes notes on the incidents that events have opened, over the REST API."""

    def __init__(
        self,
        token: Secret,
        from_: str,
        session: aiohttp.ClientSession,
        *,
        region: Region = "us",
        timeout: float = 10,
        api_url: str = "",
    ) -> None:
        self._calls = PagerDutyCalls(session, timeout, api_url)
        make, base = pagerduty.RestApiV2Client, base_url(region, "api")
        self._client = self._calls.client(make, token, default_from=from_, base_url=base)

    def close(self) -> None:
        """Release connections and threads."""
        self._calls.close()

    async def write(self, message: Message, key: str) -> None:
        """Write a note on the incident with this key; SendError. An incident that is not there gets none."""
        try:
            listed = await self._calls.run(self._client.rget, "/incidents", params={"incident_key": key})
            number = _id(listed[0]) if isinstance(listed, list) and listed else ""
            if number:
                await self._calls.run(self._client.rpost, f"/incidents/{number}/notes", json=_note(message))
        except PagerDutyError as error:
            raise _send_error(error) from None


class PagerDutyRest:
    """The REST API: ``services`` maps our services to PagerDuty's ids."""

    def __init__(
        self,
        services: dict[str, str],
        token: Secret,
        from_: str,
        session: aiohttp.ClientSession,
        *,
        region: Region = "us",
        timeout: float = 10,
        api_url: str = "",
    ) -> None:
        self._calls, self._services = PagerDutyCalls(session, timeout, api_url), services
        make, base = pagerduty.RestApiV2Client, base_url(region, "api")
        self._client = self._calls.client(make, token, default_from=from_, base_url=base)

    def close(self) -> None:
        """Release connections and threads."""
        self._calls.close()

    async def send(self, message: Message) -> Receipt:
        """Create the incident of this lane, move it on, or write a note on it."""
        service = _configured(self._services, message.address)
        try:
            return Receipt(ref=await self._put(message, service))
        except PagerDutyError as error:
            if error.already:
                return Receipt(ref=message.thread)  # without a thread, the next message finds the incident by its key
            raise _send_error(error) from None

    async def _put(self, message: Message, service: str) -> str:
        """Give the id of PagerDuty's incident."""
        if message.kind is Kind.PAGE:
            incident = self._incident(message, service)
            return _id(await self._calls.run(self._client.rpost, "/incidents", json=incident))
        number = message.thread or await self._find(message)
        if message.kind in _STATES:
            state = {"type": "incident_reference", "status": _STATES[message.kind]}
            await self._calls.run(self._client.rput, f"/incidents/{number}", json=state)
        else:
            await self._calls.run(self._client.rpost, f"/incidents/{number}/notes", json=_note(message))
        return number

    def _incident(self, message: Message, service: str) -> dict[str, object]:
        return {
            "type": "incident",
            "title": message.headline[:TITLE],
            "service": {"id": service, "type": "service_reference"},
            "urgency": "high" if message.severity == "critical" else "low",
            "incident_key": dedup_key(message),
            "body": {"type": "incident_body", "details": message.text[:NOTE]},
        }

    async def _find(self, message: Message) -> str:
        listed = await self._calls.run(self._client.rget, "/incidents", params={"incident_key": dedup_key(message)})
        number = _id(listed[0]) if isinstance(listed, list) and listed else ""
        if not number:
            raise SendError("PagerDuty has no incident with this key", Failure.REFUSED, permanent=True)
        return number


def _note(message: Message) -> dict[str, str]:
    return {"content": f"{message.headline}\n\n{message.text}"[:NOTE]}


def _details(message: Message) -> dict[str, str]:
    """The text and the facts; what the event has no room for is cut, the last first."""
    details: dict[str, str] = {}
    room = DETAILS
    for name, value in (("text", message.text), *message.fields):
        details[name] = value[: min(DETAIL, room)]
        room = max(0, room - len(details[name]))
    return details


def _place(labels: dict[str, str]) -> dict[str, str]:
    """What is broken, of what kind, for whom: what PagerDuty groups and filters alerts by."""
    component = next((labels[name] for name in _COMPONENTS if labels.get(name)), "")
    named = {"class": labels.get("alertname", ""), "component": component, "group": labels.get("team", "")}
    return {name: value[:SUMMARY] for name, value in named.items() if value}


def _source(message: Message) -> str:
    """Name the system that is affected, by the closest label that all alerts share."""
    return next((message.labels[name][:SUMMARY] for name in _SOURCES if message.labels.get(name)), message.brand.name)


def _id(incident: object) -> str:
    return str(incident.get("id") or "") if isinstance(incident, dict) else ""


def dedup_key(message: Message) -> str:
    """What makes a repeat harmless: the same for every attempt, and for the acknowledge and resolve that follow.

    What is triggered after a resolve has another one: an answer to the old incident must not be one to the new, though
    PagerDuty itself would open a new one for the old key, too.
    """
    return f"{message.key or message.incident}/{message.lane}"[:DEDUP_KEY]


def _known_key(message: Message) -> str:
    """Give the key that the first event of the lane was sent under: an older version made another form of it."""
    return message.thread if message.thread.startswith("heypeter-") else ""  # mode rest leaves PagerDuty's own ids


def _configured(services: dict[str, V], name: str) -> V:
    """Look a service up; SendError if it has been removed from the configuration."""
    if name not in services:
        raise SendError(f"no PagerDuty service {name!r} is configured", Failure.BAD_ADDRESS, permanent=True)
    return services[name]


def _send_error(error: PagerDutyError) -> SendError:
    if error.status:
        return failure(str(error), error.status, error.retry_after)
    return SendError(str(error), Failure.TIMEOUT if error.timed_out else Failure.NETWORK)


def _writes_notes(settings: Settings) -> bool:
    """Say whether mode `events` writes notes, too: that takes a token and a user in whose name."""
    return bool(settings.from_ and (settings.api_token or settings.api_token_file))


def _kinds(settings: Settings) -> frozenset[Kind]:
    if settings.mode == "rest":
        return frozenset(Kind)
    return frozenset((*_ACTIONS, Kind.UPDATE) if _writes_notes(settings) else _ACTIONS)


def _build(settings: Settings, setup: Setup) -> Channel:
    channel: PagerDutyEvents | PagerDutyRest
    timeout, api_url = float(settings.timeout), settings.api_url
    if settings.mode == "rest":
        token = setup.secret(".api_token", settings.api_token, settings.api_token_file)
        ids = {name: service.service_id for name, service in settings.services.items()}
        channel = PagerDutyRest(
            ids, token, settings.from_, setup.session, region=settings.region, timeout=timeout, api_url=api_url
        )
    else:
        keys = {
            name: setup.secret(f".services.{name}.routing_key", service.routing_key, service.routing_key_file)
            for name, service in settings.services.items()
        }
        notes = None
        if _writes_notes(settings):
            token = setup.secret(".api_token", settings.api_token, settings.api_token_file)
            notes = PagerDutyNotes(
                token, settings.from_, setup.session, region=settings.region, timeout=timeout, api_url=api_url
            )
        channel = PagerDutyEvents(
            keys,
            setup.session,
            region=settings.region,
            timeout=timeout,
            api_url=api_url,
            client_url=setup.external_url,
            notes=notes,
        )
    setup.closing.callback(channel.close)
    return channel


def _check(settings: Settings, place: Place) -> None:
    if settings.mode != "rest":
        return
    if not settings.from_:
        raise place.error("", "mode rest needs `from`: the e-mail of a PagerDuty user")
    for name, service in settings.services.items():
        if not service.service_id:
            raise place.error(f".services.{name}", "mode rest needs `service_id`")


CHANNEL = Declaration(
    settings=Settings,
    build=_build,
    check=_check,
    wrong_address=lambda settings, name: unknown_name("service", name, settings.services, "pagerduty.services"),
    own_key=True,
    keeps_incidents=True,
    single_pages=lambda settings: settings.single_pages,
    kinds=_kinds,
    read_by_people=False,
)
