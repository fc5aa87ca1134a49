"""The forms by which people cover shifts, stay awake and make maintenance: read, hand over to ``Duty``, lead back."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
from aiohttp import web

from process.web import read_fields, whole_number
from receiver.actions.answer import ActionResult, Actions, ActionSource, Request
from receiver.actions.duty import Duty, WindowRefused
from receiver.actions.many import for_many
from receiver.incident.event import Acknowledge, Unacknowledge
from receiver.incident.model import Origin
from receiver.messages.i18n import Reader, one_line
from receiver.oncall.cover import Cover, CoverState, Refused
from receiver.store.base import Store
from receiver.store.duty import MadeWindow
from receiver.web.access.viewer import Role
from receiver.web.console.acts import MAINTENANCE, Said
from receiver.web.console.layout import Viewing
from receiver.web.console.times import read_moment
from receiver.web.duty_api import shared_matchers

_MAX_FORM = 16 * 1024  # bytes
_MOST_NUMBER = 10**17  # fits SQLite
_MOST_MINUTES = 7 * 1440
_TEXT = 200  # characters
REFUSED = {
    Refused.UNKNOWN: "console_cover_unknown",
    Refused.PERSON: "console_cover_person",
    Refused.SCHEDULE: "console_cover_schedule",
    Refused.TIMES: "console_cover_times",
    Refused.AWAY: "console_cover_away",
    Refused.OVERLAPS: "console_cover_overlaps",
    Refused.TOO_LATE: "console_cover_too_late",
    Refused.NOT_YOURS: "console_cover_not_yours",
    Refused.TOO_MANY: "console_cover_too_many",
}


class Row(msgspec.Struct, frozen=True):
    """One cover, as the page lists it."""

    number: int
    text: str
    start: datetime
    end: datetime
    asked: bool
    moved: bool
    may_accept: bool
    may_cancel: bool


class DutyForms:
    """What the console's handlers call; each gives where the browser goes next, from the console's address."""

    def __init__(self, duty: Duty, actions: Actions, store: Store) -> None:
        self._duty, self._actions, self._store = duty, actions, store

    async def cover(self, request: web.Request, look: Viewing) -> str:
        """Ask somebody to cover a shift of mine or to swap shifts, or take the pager of a schedule."""
        form = dict(await read_fields(request, _MAX_FORM))
        made = _covers(form, look)
        changed = await self._duty.make(made, look.viewer.actor, _request(look, form), by_admin=_is_admin(look))
        return f"on-call?told={changed.value if isinstance(changed, Refused) else _state(changed)}"

    async def settle(self, request: web.Request, look: Viewing) -> str:
        """Accept or cancel a cover."""
        number, actor = whole_number(request.match_info["id"], _MOST_NUMBER) or 0, look.viewer.actor
        settle = self._duty.accept if request.match_info["what"] == "accept" else self._duty.cancel
        changed = await settle(number, actor, _request(look, {}), by_admin=_is_admin(look))
        return f"on-call?told={changed.value if isinstance(changed, Refused) else _state(changed)}"

    async def stay_awake(self, request: web.Request, look: Viewing) -> str:
        """Stay awake for half an hour, or go to sleep."""
        await self._duty.set_awake(look.viewer.person, _request(look, {}), awake=request.match_info["what"] == "on")
        return "./"

    async def taken(self, request: web.Request, look: Viewing) -> str:
        """Keep what was taken while awake, or give all of it back."""
        actor, keeps = look.viewer.actor, request.match_info["what"] == "keep"
        event = Acknowledge(actor, Origin.CONSOLE) if keeps else Unacknowledge(actor, Origin.CONSOLE)
        taken, asked = await self._duty.taken_awake(look.viewer.person), _request(look, {})
        await for_many(taken, lambda one: self._actions.act(ActionSource.CONSOLE, one.id, event, asked))
        return "./"

    async def maintain(self, request: web.Request, look: Viewing, number: int) -> str:
        """Put what fires in an incident, and what is like it, under maintenance."""
        form, stored = dict(await read_fields(request, _MAX_FORM)), await self._store.incident(number)
        minutes = whole_number(form.get("minutes", ""), _MOST_MINUTES) or 0
        if stored is not None:
            matchers, end = shared_matchers(stored[0]), look.now + timedelta(minutes=minutes)
            window = MadeWindow(matchers, look.now, end, look.viewer.actor, form.get("reason", ""), number)
            made = await self._duty.add_window(window, look.viewer.actor, _request(look, form))
            if isinstance(made, WindowRefused):
                return f"incidents/{number}?{Said(MAINTENANCE, ActionResult.IGNORED.value, number).query}"
        return f"incidents/{number}"

    async def awake_until(self, person: str) -> datetime | None:
        """Say until when somebody is awake."""
        return (await self._duty.awake()).get(person) if person else None

    async def rows(self, look: Viewing) -> tuple[Row, ...]:
        """List the covers that are asked for or made."""
        person, admin, acts = look.viewer.person, _is_admin(look), look.viewer.may(Role.RESPONDER)
        return tuple(
            Row(
                number=one.id,
                text=_text(one, look.reader),
                start=one.start,
                end=one.end,
                asked=one.state is CoverState.ASKED,
                moved=self._duty.moved(one),
                may_accept=acts
                and one.state is CoverState.ASKED
                and bool(person)
                and one.made_by != person
                and one.person in {"", person},
                may_cancel=acts and (admin or person in {one.made_by, one.out, one.person} - {""}),
            )
            for one in await self._duty.covers()
            if one.state is not CoverState.CANCELLED
        )


def _covers(form: Mapping[str, str], look: Viewing) -> tuple[Cover, ...]:
    """Read what is asked for: a cover, or the two of a swap, in the second of which I stand in."""
    zone = look.reader.zone
    start, end = read_moment(form.get("start", ""), zone) or look.now, read_moment(form.get("end", ""), zone)
    takes = form.get("what") == "take"
    cover = Cover(
        schedule=form.get("schedule", "")[:_TEXT],
        out="" if takes else look.viewer.person,
        person=look.viewer.person if takes else form.get("person", "")[:_TEXT],
        start=start,
        end=end or start,
        reason=form.get("reason", ""),
    )
    if form.get("what") != "swap":
        return (cover,)
    start, end = read_moment(form.get("back-start", ""), zone) or look.now, read_moment(form.get("back-end", ""), zone)
    back = msgspec.structs.replace(cover, out=cover.person, person=cover.out, start=start, end=end or start)
    return (cover, back)


def told_text(told: str, reader: Reader) -> str:
    """Say what became of a cover, from the query of the page."""
    if told in set(Refused):
        return reader.say(REFUSED[Refused(told)])
    keys = {"asked": "console_cover_asked", "active": "console_cover_made", "cancelled": "console_cover_cancelled"}
    return reader.say(keys[told]) if told in keys else ""


def _text(cover: Cover, reader: Reader) -> str:
    person = reader.who(cover.person) if cover.person else reader.say("console_anybody")
    where = one_line(cover.schedule, _TEXT)
    if not cover.out:
        return reader.say("console_cover_takes", who=person, where=where)
    return reader.say("console_cover_for", who=person, whom=reader.who(cover.out))


def _state(changed: tuple[Cover, ...]) -> str:
    return changed[0].state.value if changed else "active"


def _request(look: Viewing, form: Mapping[str, str]) -> Request:
    return Request(via=look.viewer.via, ip=look.address, form=form.get("form", ""))


def _is_admin(look: Viewing) -> bool:
    return look.viewer.may(Role.ADMIN)
