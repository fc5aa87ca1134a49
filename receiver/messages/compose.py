"""Makes messages of what the dispatchers claim: in the reader's language and time, with the reader's own link."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from process.settings import Secret
from receiver.channels.base import Message, Picture, umbrella_key
from receiver.incident.model import Incident, Kind, Notification
from receiver.messages.digest import render_bundle
from receiver.messages.i18n import ENGLISH, Reader
from receiver.messages.link import ChartGrant, DigestGrant, Grant, sign, sign_chart, sign_digest
from receiver.messages.render import render
from receiver.messages.templating import Templates
from receiver.policy.current import Current
from receiver.policy.routing import Routing
from receiver.store.base import Claimed


class Links:
    """Signs the URL by which somebody answers an incident."""

    def __init__(self, external_url: str, valid_for: float, key: Secret) -> None:
        self._url, self._valid_for, self._key = external_url.rstrip("/"), timedelta(seconds=valid_for), key
        self.installation = 0  # the store's, once it is open

    def make(self, incident: Incident, person: str, made_at: datetime) -> str:
        """Give the URL; it works from ``made_at`` until it expires."""
        expires = int((made_at + self._valid_for).timestamp())
        return f"{self._url}/answer/{sign(Grant.of(incident, person, expires, self.installation), self._key.reveal())}"

    def make_digest(self, incidents: Iterable[Incident], person: str, made_at: datetime) -> str:
        """Give the URL that lists these incidents, and acknowledges them all."""
        grant = DigestGrant.of(incidents, person, int((made_at + self._valid_for).timestamp()), self.installation)
        return f"{self._url}/answer/digest/{sign_digest(grant, self._key.reveal())}"

    def make_chart(self, incident: Incident, person: str, made_at: datetime) -> str:
        """Give the URL of the incident's picture, in the language and zone of the person."""
        expires = int((made_at + self._valid_for).timestamp())
        grant = ChartGrant.of(incident, person, expires, self.installation)
        return f"{self._url}/chart/{sign_chart(grant, self._key.reveal())}.png"


class Messages:
    """``one`` and ``many`` are what the dispatchers call."""

    def __init__(
        self,
        current: Current,
        links: Links,
        templates: Templates,
        clock: Callable[[], datetime],
        picture_of: Callable[[Claimed, Reader], Picture | None] = lambda _claimed, _reader: None,
    ) -> None:
        """Take where they come from; ``picture_of`` gives what is there, and waits for nothing."""
        self._current, self._links, self._templates, self._clock = current, links, templates, clock
        self._picture_of = picture_of

    def one(self, claimed: Claimed) -> Message:
        """Write one notification."""
        person = claimed.notification.target.person
        reader = reader_of(self._current.routing, person)
        message = render(
            claimed.notification,
            claimed.incident,
            claimed.timeline,
            delivery_id=str(claimed.id),
            thread=claimed.thread,
            link=self._links.make(claimed.incident, person, claimed.created_at),
            now=self._clock(),
            reader=reader,
            templates=self._templates,
            picture=self._picture_of(claimed, reader),
        )
        opening = claimed.incident.opening
        message = msgspec.structs.replace(
            message,
            mention=self._mention(claimed),
            key=f"{message.incident}.{claimed.generation}.{self._links.installation}",
            button=f"{message.incident}.{opening.fired}.{self._links.installation}",
        )
        return self._under_umbrella(message, claimed)

    def _under_umbrella(self, message: Message, claimed: Claimed) -> Message:
        """Address the incident at the provider that stands for all members, where there is one."""
        if not claimed.bundle:
            return message
        key, address = umbrella_key(self._links.installation, claimed.bundle), claimed.notification.target.address
        lane = f"{claimed.notification.target.channel}:{address}"
        return msgspec.structs.replace(message, incident=key, key=key, lane=lane)

    def _mention(self, claimed: Claimed) -> str:
        """Whom a page in a channel of Slack calls by name: the first of those who are paged."""
        notification = claimed.notification
        if notification.kind is not Kind.PAGE or notification.target.person:
            return ""
        paged = [t.person for t in claimed.incident.delivery.told if t.person and t.role in notification.roles]
        person = self._current.routing.people.get(paged[0]) if paged else None
        ways = person.contacts if person else ()
        return next((way.address for way in ways if way.channel == "slack" and way.address.startswith(("U", "W"))), "")

    def many(self, claims: list[Claimed]) -> Message:
        """Write one message of many notifications for one address."""
        person, made_at = claims[0].notification.target.person, claims[0].created_at
        message = render_bundle(
            [(claimed.notification, claimed.incident) for claimed in claims],
            delivery_id=str(claims[0].id),
            link_of_all=self._links.make_digest([claimed.incident for claimed in claims], person, made_at),
            link_of=lambda incident: self._links.make(incident, person, made_at),
            now=self._clock(),
            reader=reader_of(self._current.routing, person),
            templates=self._templates,
        )
        return self._under_umbrella(message, claims[0])

    def digest(self, items: Sequence[tuple[Notification, Incident]], claimed: Claimed) -> Message:
        """Write anew what was one message of many incidents, as they stand; ``claimed`` is a redraw of one of them."""
        person, made_at = claimed.notification.target.person, claimed.created_at
        return render_bundle(
            items,
            delivery_id=str(claimed.id),
            link_of_all=self._links.make_digest([incident for _, incident in items], person, made_at),
            link_of=lambda incident: self._links.make(incident, person, made_at),
            now=self._clock(),
            reader=reader_of(self._current.routing, person),
            templates=self._templates,
            thread=claimed.thread.removeprefix("*"),
        )


def reader_of(routing: Routing, person: str) -> Reader:
    """Give the language and the time zone of a person; English and UTC for a place that many read."""
    known = routing.people.get(person)
    language, zone = (known.language, known.zone) if known else (ENGLISH, "UTC")
    return Reader(language, zone, routing.directory.name)
