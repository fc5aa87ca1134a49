"""Silences on the console: what the page of an incident shows of them, and the form by which one is made."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from aiohttp import web

from process.web import Handler, read_fields, whole_number
from receiver.actions.answer import ActionSource, Request
from receiver.actions.silences import LONGEST_COMMENT, MOST_MATCHERS, NewSilence, Preview, SilenceRefused, Silences
from receiver.clients.http_api import ApiError
from receiver.incident.model import SOMEBODY, Incident
from receiver.messages.i18n import Reader, one_line
from receiver.messages.render import what_broke
from receiver.messages.timeline import LINE
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.store.silences import MadeSilence
from receiver.store.unreadable import UnreadableError
from receiver.web.access.viewer import Role
from receiver.web.console.incident_page import form_key
from receiver.web.console.layout import Layout, Viewing, viewing
from receiver.web.silences_api import matchers_of, status_of

_MAX_FORM = 64 * 1024  # bytes
_MINUTES = (30, 60, 120, 240, 480, 1440, 4320, 10080)
_LONGEST = 43_200  # minutes
_LONGER_BY = timedelta(hours=1)
_WRONG = {
    SilenceRefused.NO_INCIDENT: "refused_unknown",
    SilenceRefused.NO_ALERTMANAGER: "silence_no_alertmanager",
    SilenceRefused.TIMES: "silence_wrong_times",
    SilenceRefused.MATCHERS: "silence_wrong_matchers",
    SilenceRefused.UNKNOWN: "silence_gone",
    SilenceRefused.OVER: "silence_gone",
}
Fields = Sequence[tuple[str, str]]


class Choice(msgspec.Struct, frozen=True):
    """What somebody has chosen in the form."""

    matchers: tuple[str, ...]
    more: str
    minutes: int
    comment: str
    form: str

    @property
    def all(self) -> tuple[str, ...]:
        """Give every matcher."""
        typed = self.more.strip()
        return (*self.matchers, typed) if typed else self.matchers

    @classmethod
    def read(cls, fields: Fields) -> "Choice":
        """Read a form; what is no number of minutes is refused later."""
        form = dict(fields)
        return cls(
            tuple(value for name, value in fields if name == "matcher")[: MOST_MATCHERS + 1],
            form.get("more", "")[:LINE],
            whole_number(form.get("minutes", ""), _LONGEST) or 0,
            form.get("comment", "")[:LONGEST_COMMENT],
            form.get("form", ""),
        )


class SilencePages:
    """See the routes."""

    def __init__(
        self, silences: Silences, store: Store, current: Current, clock: Callable[[], datetime], layout: Layout
    ) -> None:
        self._silences, self._store, self._current, self._clock, self._layout = silences, store, current, clock, layout

    def routes(self) -> list[web.RouteDef]:
        """List what is served to those who are signed in; these go before the console's own."""
        at = r"/incidents/{id:\d{1,17}}/silence"
        return [
            web.get(at, self._guarded(self.form, 2)),
            web.post(at, self._guarded(self.make, 2)),
            web.post(f"{at}/{{silence}}/{{act:extend|end}}", self._guarded(self.change, 4)),
        ]

    def _guarded(self, handler: Handler, levels: int) -> Handler:
        """Let only those pass who may act, and answer with a page when the store is away."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            look = self._look(request, levels)
            if not look.viewer.may(Role.RESPONDER, int(request.match_info["id"])):
                return self._layout.problem(look, "console_may_not_act", 403)
            try:
                return await handler(request)
            except UnreadableError:
                return self._layout.problem(look, "refused_unreadable", 503)
            except StoreError:
                return self._layout.problem(look, "refused_store", 503)

        return guarded

    def _look(self, request: web.Request, levels: int) -> Viewing:
        return viewing(request, self._current, self._clock(), levels)

    async def form(self, request: web.Request) -> web.StreamResponse:
        """GET /incidents/{id}/silence: what to silence, and for how long; what all its alerts have is ticked."""
        look, incident = self._look(request, 2), await self._incident(request)
        if incident is None:
            return self._layout.problem(look, "refused_unknown", 404)
        choice = Choice(matchers_of(incident), "", 120, "", form_key())
        return await self._shown(look, incident, choice)

    async def make(self, request: web.Request) -> web.StreamResponse:
        """POST /incidents/{id}/silence: makes it with `do=make`, and else counts what it would mute."""
        look, incident = self._look(request, 2), await self._incident(request)
        if incident is None:
            return self._layout.problem(look, "refused_unknown", 404)
        fields = await read_fields(request, _MAX_FORM)
        choice = Choice.read(fields)
        if ("do", "make") not in fields:
            return await self._shown(look, incident, choice)
        wanted = NewSilence(choice.all, look.now + timedelta(minutes=choice.minutes), choice.comment)
        try:
            made = await self._silences.make(
                ActionSource.CONSOLE, incident.id, wanted, look.viewer.actor or SOMEBODY, _request(look, choice.form)
            )
        except ApiError as error:
            return await self._shown(look, incident, choice, _away(error, look.reader), status_of(error))
        if isinstance(made, SilenceRefused):
            return await self._shown(look, incident, choice, look.reader.say(_WRONG[made]), 422)
        raise web.HTTPSeeOther(f"../{incident.id}")

    async def change(self, request: web.Request) -> web.StreamResponse:
        """POST /incidents/{id}/silence/{silence}/extend or end: an hour longer, or over now."""
        look, number, name = self._look(request, 4), int(request.match_info["id"]), request.match_info["silence"]
        actor, source, how = look.viewer.actor or SOMEBODY, ActionSource.CONSOLE, _request(look)
        result: MadeSilence | SilenceRefused
        try:
            if request.match_info["act"] == "end":
                result = await self._silences.end(source, number, name, actor, how)
            else:
                known = {one.id: one for one in await self._silences.of_incident(number)}
                ends = known[name].ends_at if name in known else look.now
                until = max(ends, look.now) + _LONGER_BY
                result = await self._silences.change(source, number, name, until, actor, how)
        except ApiError as error:
            text = _away(error, look.reader)
            return self._layout.page("problem.html", look, {"text": text}, status_of(error))
        if isinstance(result, SilenceRefused):
            return self._layout.problem(look, _WRONG[result], 409)
        raise web.HTTPSeeOther(f"../../../{number}")

    async def _incident(self, request: web.Request) -> Incident | None:
        stored = await self._store.incident(int(request.match_info["id"]))
        return stored[0] if stored else None

    async def _shown(
        self, look: Viewing, incident: Incident, choice: Choice, wrong: str = "", status: int = 200
    ) -> web.Response:
        """Show the form as it was filled in, and what it would mute; that is not asked where something was wrong."""
        found: Preview | None = None
        if not wrong:
            found, wrong = await self._preview(incident, choice, look.reader)
        shared = matchers_of(incident)
        offered = (*shared, *(one for one in choice.matchers if one not in shared))
        values = {
            "number": incident.id,
            "title": what_broke(incident, look.reader),
            "offered": [(text, one_line(text, LINE), text in choice.matchers) for text in offered[: MOST_MATCHERS + 1]],
            "choice": choice,
            "lengths": [(minutes, look.reader.duration(60 * minutes)) for minutes in _MINUTES],
            "found": found,
            "others": [_labels(one) for one in found.others] if found else [],
            "wrong": wrong,
        }
        return self._layout.page("silence.html", look, values, status)

    async def _preview(self, incident: Incident, choice: Choice, reader: Reader) -> tuple[Preview | None, str]:
        try:
            found = await self._silences.preview(incident.id, choice.all)
        except ApiError as error:
            return None, reader.say("silence_not_counted", why=one_line(str(error), LINE))
        return (None, reader.say(_WRONG[found])) if isinstance(found, SilenceRefused) else (found, "")


def _labels(labels: Mapping[str, str]) -> str:
    return one_line(", ".join(f"{name}={value}" for name, value in sorted(labels.items())), LINE // 2)


def _away(error: ApiError, reader: Reader) -> str:
    return reader.say("silence_away", why=one_line(str(error), LINE))


def _request(look: Viewing, form: str = "") -> Request:
    return Request(via=look.viewer.via, ip=look.address, form=form)
