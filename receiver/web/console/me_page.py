"""The page of whoever looks: how they are paged, a test of it, what they took while awake, sessions and tokens."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from aiohttp import web

from process.web import read_fields, whole_number
from receiver.actions.answer import ActionResult, Actions, ActionSource, Request
from receiver.actions.duty import Duty
from receiver.incident.event import Raise
from receiver.incident.model import Origin, Priority
from receiver.messages.i18n import Reader
from receiver.messages.render import incident_name
from receiver.oncall.contact_rules import Person
from receiver.oncall.hours import Hours
from receiver.policy.current import Current
from receiver.store.access import AccessStore, Session, Token
from receiver.store.audit import Act
from receiver.store.base import StoreError
from receiver.web.access import api_token
from receiver.web.access.guard import SESSION, needs
from receiver.web.access.viewer import Role
from receiver.web.console.calendar_feed import CalendarFeeds
from receiver.web.console.devices import device_name
from receiver.web.console.incident_page import form_key
from receiver.web.console.layout import Layout, Viewing, viewing

_MAX_FORM = 4 * 1024  # bytes
_MOST_NUMBER = 10**17  # fits SQLite
_LISTED = 1000  # sessions of everybody, from which one's own are taken
_SAID = {"nobody": "me_said_nobody", "ended": "me_said_ended", "revoked": "me_said_revoked"}
_WEEK = 7


class Way(msgspec.Struct, frozen=True):
    """One contact, and at which priorities a page goes there now."""

    channel: str
    address: str
    priorities: str


class OwnSession(msgspec.Struct, frozen=True):
    """One browser."""

    number: int
    browser: str
    seen: datetime
    address: str
    current: bool


class MePage:
    """See the routes."""

    def __init__(
        self,
        access: AccessStore,
        actions: Actions,
        duty: Duty,
        current: Current,
        *,
        layout: Layout,
        feeds: CalendarFeeds,
    ) -> None:
        self._access, self._actions, self._duty, self._current = access, actions, duty, current
        self._layout, self._feeds = layout, feeds

    def routes(self) -> list[web.RouteDef]:
        """List what is served to those who are signed in."""
        return [
            web.get("/me", self.page),
            web.post("/me/test", self.test),
            web.post(r"/me/sessions/{id:\d{1,17}}/end", self.end_session),
            web.post(r"/me/tokens/{id:\d{1,17}}/revoke", self.revoke_token),
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET /me: what is known of whoever looks."""
        look = self._look(request, 0)
        if (refused := self._refused(look)) is not None:
            return refused
        reader, key = look.reader, look.viewer.person
        person, said = look.routing.people[key], request.query.get("said", "")
        try:
            sessions, tokens = await self._access.sessions(look.now, _LISTED), await self._access.tokens()
            taken = await self._duty.taken_awake(key)
        except StoreError:
            return self._layout.problem(look, "refused_store", 503)
        own = request.get(SESSION)
        values = {
            "here": "me",
            "notice": reader.say(_SAID[said]) if said in _SAID else "",
            "ways": _ways(person, look),
            "rules": [*_rules(person, reader)],
            "vacation": [one for one in person.vacation if one[1] > look.now],
            "person": person,
            "language": reader.say("me_language_name"),
            "feed": self._feeds.name(key),
            "taken": [(one.id, incident_name(one, reader)) for one in taken],
            "sessions": [_session(one, own) for one in sessions if one.person == key],
            "tokens": [one for one in tokens if _is_own(one, look)],
            "priorities": sorted(plan.value for plan in look.routing.plans),
            "form_key": form_key(),
        }
        return self._layout.page("me.html", look, values)

    @needs(Role.RESPONDER)
    async def test(self, request: web.Request) -> web.StreamResponse:
        """POST /me/test: pages whoever presses as a real page of this priority would, and nobody else."""
        look, form = self._look(request, 1), dict(await read_fields(request, _MAX_FORM))
        priority = form.get("priority", "")
        if (refused := self._refused(look)) is not None:
            return refused
        if priority not in {plan.value for plan in look.routing.plans}:
            raise web.HTTPSeeOther("../me")
        key, text = look.viewer.person, look.reader.say("me_test_text", who=look.reader.who(look.viewer.person))
        event = Raise(key, Origin.CONSOLE, text, person=key, priority=Priority(priority), drill=True)
        asked = Request(via=look.viewer.via, ip=look.address, form=form.get("form", ""))
        try:
            result, incident = await self._actions.raise_by_hand(ActionSource.CONSOLE, event, asked)
        except StoreError:
            return self._layout.problem(look, "refused_store", 503)
        if result is ActionResult.STUCK:
            return self._layout.problem(look, "refused_not_raised", 503)
        raise web.HTTPSeeOther(f"../incidents/{incident.id}" if incident is not None else "../me?said=nobody")

    @needs(Role.VIEWER)
    async def end_session(self, request: web.Request) -> web.StreamResponse:
        """POST /me/sessions/{id}/end: signs one of one's own browsers out."""
        look, number = self._look(request, 3), whole_number(request.match_info["id"], _MOST_NUMBER) or 0
        try:
            found = await self._access.session_numbered(number, look.now)
            if found is not None and found.person and found.person == look.viewer.person and self._whole(look):
                await self._access.end_session(number, _act(look, "session.end", f"session/{number}"))
        except StoreError:
            return self._layout.problem(look, "refused_store", 503)
        raise web.HTTPSeeOther("../../../me?said=ended")

    @needs(Role.RESPONDER)
    async def revoke_token(self, request: web.Request) -> web.StreamResponse:
        """POST /me/tokens/{id}/revoke: one of one's own."""
        look, number = self._look(request, 3), whole_number(request.match_info["id"], _MOST_NUMBER) or 0
        try:
            if self._whole(look) and number in {one.id for one in await self._access.tokens() if _is_own(one, look)}:
                await self._access.revoke_token(number, _act(look, "token.revoke", f"token/{number}"))
        except StoreError:
            return self._layout.problem(look, "refused_store", 503)
        raise web.HTTPSeeOther("../../../me?said=revoked")

    def _look(self, request: web.Request, levels: int) -> Viewing:
        return viewing(request, self._current, self._actions.clock(), levels)

    def _whole(self, look: Viewing) -> bool:
        """Say whether this is more than the link of a message."""
        return look.viewer.may(Role.VIEWER)

    def _refused(self, look: Viewing) -> web.Response | None:
        if not self._whole(look):
            return self._layout.problem(look, "console_link_only", 403)
        if look.viewer.person not in look.routing.people:
            return self._layout.problem(look, "me_nobody", 403)
        return None


def _ways(person: Person, look: Viewing) -> list[Way]:
    """List the contacts in their order; a page goes to each at these priorities at this hour."""
    used = {plan: set(person.ways(plan, look.now)) for plan in sorted(look.routing.plans)}
    return [
        Way(
            look.reader.name("channel", one.channel),
            "" if one.channel == "push" else one.address,
            ", ".join(plan.value for plan, contacts in used.items() if one in contacts),
        )
        for one in person.contacts
    ]


def _rules(person: Person, reader: Reader) -> Sequence[str]:
    """Write the rules and the quiet hours as sentences, in the order in which they count."""
    lines = []
    for rule in person.rules:
        hours = _hours(rule.hours, reader) if rule.hours is not None else reader.say("me_always")
        priorities = ", ".join(sorted(one.value for one in rule.priorities))
        lines.append(
            reader.say("me_rule", when=hours, priorities=priorities, channels=_channels(rule.channels, reader))
        )
    if person.quiet_hours is not None:
        hours = _hours(person.quiet_hours, reader)
        lines.append(reader.say("me_quiet", when=hours, channels=_channels(person.quiet_channels, reader)))
    return lines


def _hours(hours: Hours, reader: Reader) -> str:
    names = reader.say("console_weekdays").split()
    days = "" if len(hours.days) == _WEEK else " ".join(names[day] for day in sorted(hours.days)) + " "
    start, end = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (hours.start, hours.end))
    return f"{days}{start}-{end}"


def _channels(channels: frozenset[str], reader: Reader) -> str:
    return ", ".join(reader.name("channel", one) for one in sorted(channels))


def _session(one: Session, own: Session | None) -> OwnSession:
    return OwnSession(one.id, device_name(one.agent), one.seen, one.ip, own is not None and own.id == one.id)


def _is_own(token: Token, look: Viewing) -> bool:
    return token.owner == look.viewer.person and api_token.works(token, look.now)


def _act(look: Viewing, act: str, of: str) -> Act:
    return Act(look.now, look.viewer.actor, look.viewer.via, look.address, act, of)
