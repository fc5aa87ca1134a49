"""The loop that tells who comes on call what is open and what the shift before was like, once at each change."""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial

import msgspec

from receiver.channels.base import Channel, Link, Message, Receipt, SendError, Words, attempt
from receiver.evidence.handover import Change, Handover, last_change, sections, summed_up, text, title
from receiver.incident.model import Kind
from receiver.messages.compose import reader_of
from receiver.messages.templating import Templates
from receiver.oncall.contact_rules import Contact
from receiver.policy.current import Current
from receiver.store.base import Store

log = logging.getLogger(__name__)

PERIOD = 30.0  # seconds
_TRIED_FOR = timedelta(minutes=30)  # after a change; a summary that is older helps nobody


class Recipients(msgspec.Struct, frozen=True):
    """Who gets the summaries of a role: people by these of their channels, and places."""

    channels: tuple[str, ...] = ()
    places: tuple[Contact, ...] = ()


class HandoverError(Exception):
    """Some could not be sent, and are tried again."""


class HandoverSummaries:
    """``run_once`` sends what is due to whom ``use`` names by role; ``url`` is the console's."""

    def __init__(  # the composition root hands over every collaborator
        self,
        store: Store,
        current: Current,
        clock: Callable[[], datetime],
        channels: Mapping[str, Channel],
        url: str,
        templates: Templates,
    ) -> None:
        self._store, self._current, self._clock, self._channels = store, current, clock, channels
        self._url, self._templates = url.rstrip("/"), templates
        self._roles: Mapping[str, Recipients] = {}
        self._sent: set[tuple[str, datetime, Contact]] = set()

    def use(self, roles: Mapping[str, Recipients]) -> None:
        """Send to others from now on: the configuration is another one."""
        self._roles = roles

    async def run_once(self) -> None:
        """Look at each role; HandoverError if anything could not be sent."""
        failed = [role for role in self._roles if not await self._look(role)]
        if failed:
            raise HandoverError(f"hand-over of {', '.join(failed)}")

    async def _look(self, role: str) -> bool:
        now = self._clock()
        since = await self._store.handed_over(role)
        if since is None:
            await self._store.hand_over(role, now)  # what was before we were asked to is nobody's news
            return True
        change = last_change(self._current.routing, role, since, now)
        if change is None or change.at <= since:
            return True
        if now - change.at > _TRIED_FOR:
            log.warning("the summary for who holds %s since %s was not sent everywhere", role, change.at)
        elif not await self._send(change, now):
            return False
        await self._store.hand_over(role, change.at)
        self._sent = {key for key in self._sent if key[0] != role}
        return True

    async def _send(self, change: Change, now: datetime) -> bool:
        """Send to those who have not got it yet; False if any could not be reached."""
        summary = await summed_up(self._store, change)
        arrived = True
        for contact, person in self._recipients(change):
            key = (change.role, change.at, contact)
            if key in self._sent:
                continue
            try:
                sending = self._deliver(summary, contact, person, now)
                await attempt(sending, f"the summary for {change.role} by {contact.channel}")
            except SendError as error:
                log.warning("the summary for %s could not be sent by %s: %s", change.role, contact.channel, error)
                arrived = False
            else:
                self._sent.add(key)
        return arrived

    async def _deliver(self, summary: Handover, contact: Contact, person: str, now: datetime) -> Receipt:
        return await self._channels[contact.channel].send(self._message(summary, contact, person, now))

    def _recipients(self, change: Change) -> Iterator[tuple[Contact, str]]:
        recipients, people = self._roles[change.role], self._current.routing.people
        for key in dict.fromkeys((*change.coming, *change.leaving)):
            known = people.get(key)
            for way in known.contacts if known else ():
                if way.channel in recipients.channels and way.channel in self._channels:
                    yield way, key
        for place in recipients.places:
            if place.channel in self._channels:
                yield place, ""

    def _message(self, summary: Handover, contact: Contact, person: str, now: datetime) -> Message:
        change = summary.change
        reader = reader_of(self._current.routing, person)
        lane, at = f"handover:{change.role}:{contact.address}", int(change.at.timestamp())
        headline, found = title(summary, reader), sections(summary, reader, now)
        values: dict[str, object] = {
            "language": reader.language,
            "headline": headline,
            "sections": found,
            "url": f"{self._url}/",
            "say": reader.say,
            "product": self._templates.brand.name,
        }
        return Message(
            id=f"handover-{change.role}-{at}",
            kind=Kind.UPDATE,
            address=contact.address,
            lane=lane,
            incident=f"heypeter-handover-{change.role}-{at}",
            priority="",
            severity="info",
            subject=headline,
            headline=headline,
            text=f"{text(summary, reader, now)}\n\n{self._url}/",
            write_html=partial(self._templates.write, "handover.html", values),
            fields=tuple((heading, "\n".join(lines)) for heading, lines in found),
            links=(Link(reader.say("handover_link"), f"{self._url}/"),),
            sent_at=now,
            words=Words(status=reader.say("handover")),
            brand=self._templates.brand,
            lead=headline,
        )
