"""The console's addresses: who may open which page and press which button, and what is answered."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from aiohttp import web
from prometheus_client import CollectorRegistry

from process.web import Handler, read_fields, whole_number
from receiver.actions.answer import ActionResult, Actions
from receiver.actions.duty import Duty
from receiver.evidence.chart import Deployment
from receiver.evidence.similar import similar
from receiver.incident.delivery import Handling
from receiver.incident.model import Incident
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.store.silences import SilenceStore
from receiver.store.unreadable import UnreadableError
from receiver.web.access.viewer import Role
from receiver.web.console import (
    calendar_feed,
    history_page,
    incident_page,
    now_page,
    on_call_page,
    policy_page,
    status_page,
)
from receiver.web.console.acts import ACTS, BULK, MOST_AT_ONCE, Said, press, press_all, raise_by_hand, said_text
from receiver.web.console.board import Board
from receiver.web.console.calendar_feed import CalendarFeeds
from receiver.web.console.duty_forms import DutyForms, told_text
from receiver.web.console.layout import Layout, Viewing, answer, viewing
from receiver.web.console.live import IncidentView, NowView
from receiver.web.console.now_page import SHOWN, Filter
from receiver.web.console.stream import Streams
from receiver.web.console.written_rows import WrittenRows
from receiver.web.replay_api import Replays

_MAX_FORM = 64 * 1024  # bytes
_MOST_NUMBER = 10**17  # fits SQLite


class Console:
    """See the routes."""

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        store: Store,
        actions: Actions,
        current: Current,
        clock: Callable[[], datetime],
        *,
        layout: Layout,
        board: Board,
        streams: Streams,
        feeds: CalendarFeeds,
        brand: str = "HeyPeter",
        handling: Callable[[str], Handling] = lambda _channel: Handling(),
        duty: Duty,
        silences: SilenceStore,
        replays: Replays | None = None,
        registry: CollectorRegistry,
        site: status_page.Site = status_page.Site(),  # noqa: B008  # immutable
        deployed: Callable[[Incident], tuple[Deployment, ...]] = lambda _incident: (),
    ) -> None:
        self._store, self._actions, self._current, self._clock = store, actions, current, clock
        self._layout, self._board, self._streams, self._deployed = layout, board, streams, deployed
        self._feeds, self._brand, self._handling = feeds, brand, handling
        self._registry, self._site, self._duty = registry, site, DutyForms(duty, actions, store)
        self._replays, self._rows = replays, WrittenRows(layout)
        board.when_idle(self._rows.forget)
        self._silences = silences

    def routes(self) -> list[web.RouteDef]:
        """List what is served at the console's own address to those who are signed in."""
        return [
            web.get("/", self._guarded(self.now, 0)),
            web.get("/stream", self._guarded(self.now_stream, 0)),
            web.get(r"/incidents/{id:\d{1,17}}/stream", self._guarded(self.incident_stream, 2)),
            web.get(r"/incidents/{id:\d{1,17}}/timeline", self._guarded(self.timeline, 2)),
            web.get(r"/incidents/{id:\d{1,17}}", self._guarded(self.incident, 1)),
            web.post("/incidents/{act:[a-z]+}", self._guarded(self.act_on_many, 1)),
            web.get("/on-call", self._guarded(self.on_call, 0)),
            web.get("/on-call/handover", self._guarded(self.handover, 1)),
            web.post("/on-call/cover", self._guarded(self.cover, 1)),
            web.post(r"/on-call/covers/{id:\d{1,17}}/{what:accept|cancel}", self._guarded(self.settle_cover, 3)),
            web.post("/awake/{what:on|off}", self._guarded(self.stay_awake, 1)),
            web.post("/awake/{what:keep|giveback}", self._guarded(self.taken, 1)),
            web.post(r"/incidents/{id:\d{1,17}}/maintenance", self._guarded(self.maintain, 2)),
            web.post(r"/incidents/{id:\d{1,17}}/{act:[a-z]+}", self._guarded(self.act, 2)),
            web.get("/status", self._guarded(self.status, 0)),
            web.get("/policy", self._guarded(self.policy, 0)),
            web.post("/policy/replay", self._guarded(self.replay, 1)),
            web.get("/history", self._guarded(self.history, 0)),
            web.get("/history.csv", self._guarded(self.history_csv, 0)),
            web.get("/raise", self._guarded(self.raise_form, 0)),
            web.post("/raise", self._guarded(self.raise_, 0)),
        ]

    def open_routes(self) -> list[web.RouteDef]:
        """List what needs no sign-in: files that say nothing of this site, and calendars at addresses of their own."""
        return [web.get("/static/{name}", self._layout.files.serve), web.get("/calendar/{name}", self.calendar)]

    def _guarded(self, handler: Handler, levels: int) -> Handler:
        """Answer with a page when the store is away."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except UnreadableError:
                return self._layout.problem(self._look(request, levels), "refused_unreadable", 503)
            except StoreError:
                return self._layout.problem(self._look(request, levels), "refused_store", 503)

        return guarded

    def _look(self, request: web.Request, levels: int) -> Viewing:
        return viewing(request, self._current, self._clock(), levels)

    async def now(self, request: web.Request) -> web.StreamResponse:
        """GET /: the open incidents, the most urgent first."""
        look = self._look(request, 0)
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        chosen = Filter.read(request.query, look.viewer.person)
        position, incidents = self._streams.position, await self._board.incidents()
        said = Said.read(request.query.get("said", ""))
        concerned = await self._concerned(said)
        heading = now_page.summary_text(now_page.summary(incidents), look.reader)
        values = {
            "here": "now",
            "heading": heading,
            "notice": said_text(said, concerned, look) if said else "",
            "chips": now_page.chips(chosen, look.viewer.person, look.reader),
            "teams": now_page.team_chips(chosen, look.routing, look.reader),
            "team": chosen.team,
            "query": chosen.query,
            "snoozes": [(str(m), look.reader.duration(60 * m)) for m in (30, 60, 120, 240)],
            "stream": f"{chosen.query}{'&' if chosen.query else ''}after={position}",
            "awake": await self._duty.awake_until(look.viewer.person),
            "taken": now_page.taken_awake(incidents, look.viewer.person),
            **self._listed(chosen, incidents, look),
        }
        return self._layout.page("now.html", look, values)

    def _listed(self, chosen: Filter, incidents: tuple[Incident, ...], look: Viewing) -> dict[str, object]:
        self._rows.keep_only(incidents)
        listed = now_page.listed(incidents, chosen, look.routing, self._rows.seen_by(look))
        more = Filter(
            chosen.team, chosen.priority, chosen.mine, chosen.unanswered, chosen.shown + max(listed.more, SHOWN)
        )
        filtered = bool(Filter(chosen.team, chosen.priority, chosen.mine, chosen.unanswered).query)
        return {"listed": listed, "more_query": more.query, "filtered": filtered}

    async def incident(self, request: web.Request) -> web.StreamResponse:
        """GET /incidents/{id}: one incident, its buttons, alerts and timeline."""
        look, number = self._look(request, 1), _number(request)
        if not look.viewer.may(Role.VIEWER, number):
            return self._layout.problem(look, "console_link_only", 403)
        position, stored = self._streams.position, await self._store.incident(number)
        if stored is None:
            return self._layout.problem(look, "refused_unknown", 404)
        said = Said.read(request.query.get("said", ""))
        values = {
            "notice": said_text(said, stored[0], look) if said else "",
            "act_at": f"{number}/",
            "stream": f"incidents/{number}/stream?after={position}",
            "deployed": self._deployed(stored[0]),
            "seen_before": incident_page.seen_before(await similar(self._store, stored[0]), look.reader),
            **incident_page.values(
                *stored, look, await self._silences.of_incident(number), asking=request.query.get("ask") == "resolve"
            ),
        }
        return self._layout.page("incident.html", look, values)

    async def timeline(self, request: web.Request) -> web.StreamResponse:
        """GET /incidents/{id}/timeline?skip=200: older lines of its timeline."""
        look, number = self._look(request, 2), _number(request)
        if not look.viewer.may(Role.VIEWER, number):
            return self._layout.problem(look, "console_link_only", 403)
        stored = await self._store.incident(number)
        if stored is None:
            return self._layout.problem(look, "refused_unknown", 404)
        values = await incident_page.older_lines(self._store, stored[0], request.query, look)
        return self._layout.page("timeline.html", look, {"back": f"../{number}", **values})

    async def now_stream(self, request: web.Request) -> web.StreamResponse:
        """GET /stream: what changes in the list of the same query."""
        look = self._look(request, 0)
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        chosen = Filter.read(request.query, look.viewer.person)
        return await self._streams.serve(
            request, NowView(chosen, look, self._layout, self._board, self._rows, self._clock)
        )

    async def incident_stream(self, request: web.Request) -> web.StreamResponse:
        """GET /incidents/{id}/stream: what changes of one incident."""
        look, number = self._look(request, 1), _number(request)  # its links count from where the page stands
        if not look.viewer.may(Role.VIEWER, number):
            return self._layout.problem(look, "console_link_only", 403)
        view = IncidentView(number, f"{number}/", look, self._layout, self._store, self._silences, self._clock)
        return await self._streams.serve(request, view)

    async def act(self, request: web.Request) -> web.StreamResponse:
        """POST /incidents/{id}/{act}: acts, then leads to the page that the form was on."""
        look, number, act = self._look(request, 2), _number(request), request.match_info["act"]
        if act not in ACTS:
            return self._layout.problem(look, "refused_no_verb", 404)
        if not look.viewer.may(Role.RESPONDER, number):
            return self._layout.problem(look, "console_may_not_act", 403)
        form = dict(await read_fields(request, _MAX_FORM, MOST_AT_ONCE))
        result = await press(self._actions, look, number, act, form)
        said = Said(act, result.value, number)
        if "back" in form:
            return await self._back(request, said, (number,), form)
        if result is ActionResult.UNCONFIRMED:
            raise web.HTTPSeeOther(f"../{number}?ask=resolve")
        raise web.HTTPSeeOther(f"../{number}?{said.query}")

    async def act_on_many(self, request: web.Request) -> web.StreamResponse:
        """POST /incidents/{act} with incident=1, incident=2 and so on: acts on each."""
        look, act = self._look(request, 1), request.match_info["act"]
        if act not in BULK:
            return self._layout.problem(look, "refused_no_verb", 404)
        if not look.viewer.may(Role.RESPONDER):
            return self._layout.problem(look, "console_may_not_act", 403)
        fields = await read_fields(request, _MAX_FORM, MOST_AT_ONCE + 10)
        numbers = [whole_number(value, _MOST_NUMBER) or 0 for name, value in fields if name == "incident"]
        said = await press_all(self._actions, look, numbers, act, dict(fields))
        return await self._back(request, said, numbers, dict(fields))

    async def on_call(self, request: web.Request) -> web.StreamResponse:
        """GET /on-call: who holds each role, now and in the week to come."""
        look = self._look(request, 0)
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        values = {
            "here": "on_call",
            "feed": self._feeds.name(look.viewer.person),
            "notice": told_text(request.query.get("told", ""), look.reader),
            "covers": await self._duty.rows(look),
            "form_key": incident_page.form_key(),
            "people": [
                (value.removeprefix("person:"), name)
                for value, name, is_person in incident_page.whom(look)
                if is_person
            ],
            "schedules": sorted(look.routing.schedules),
            "start": look.reader.local(look.now, "%Y-%m-%dT%H:%M"),
            "end": look.reader.local(look.now + timedelta(hours=8), "%Y-%m-%dT%H:%M"),
            **on_call_page.values(look),
        }
        return self._layout.page("on_call.html", look, values)

    async def handover(self, request: web.Request) -> web.StreamResponse:
        """GET /on-call/handover?role=on-call-engineer: the shift that is under way, for whoever comes next."""
        look = self._look(request, 1)
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        values = await on_call_page.handed_over(self._store, request.query.get("role", ""), look)
        return self._layout.page("handover.html", look, {"here": "on_call", **values})

    async def cover(self, request: web.Request) -> web.StreamResponse:
        """POST /on-call/cover: asks for a cover, or takes the pager."""
        return await self._duty_act(request, 1, self._duty.cover)

    async def settle_cover(self, request: web.Request) -> web.StreamResponse:
        """POST /on-call/covers/{id}/accept|cancel."""
        return await self._duty_act(request, 3, self._duty.settle)

    async def stay_awake(self, request: web.Request) -> web.StreamResponse:
        """POST /awake/on|off: for half an hour, what is new for me and no P1 is taken quietly."""
        return await self._duty_act(request, 1, self._duty.stay_awake)

    async def taken(self, request: web.Request) -> web.StreamResponse:
        """POST /awake/keep|giveback: all that was taken while awake."""
        return await self._duty_act(request, 1, self._duty.taken)

    async def maintain(self, request: web.Request) -> web.StreamResponse:
        """POST /incidents/{id}/maintenance with minutes=60."""
        number = _number(request)
        return await self._duty_act(request, 2, lambda asked, look: self._duty.maintain(asked, look, number))

    async def _duty_act(
        self, request: web.Request, levels: int, act: Callable[[web.Request, Viewing], Awaitable[str]]
    ) -> web.StreamResponse:
        look = self._look(request, levels)
        if not look.viewer.may(Role.RESPONDER):
            return self._layout.problem(look, "console_may_not_act", 403)
        raise web.HTTPSeeOther(f"{look.root}{await act(request, look)}")

    async def policy(self, request: web.Request) -> web.StreamResponse:
        """GET /policy?labels=severity=critical&at=2026-11-23T03:00: the matrix, and what would happen to an alert."""
        look = self._look(request, 0)
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        values = policy_page.values(look, request.query, self._handling)
        return self._layout.page("policy.html", look, {"here": "policy", "replayed": None, **values})

    async def replay(self, request: web.Request) -> web.StreamResponse:
        """POST /policy/replay with an edited receiver.yml: what it would have made of the last incidents."""
        look = self._look(request, 1)
        if not look.viewer.may(Role.RESPONDER) or self._replays is None:
            return self._layout.problem(look, "console_may_not_act", 403)
        form = dict(await read_fields(request, policy_page.LARGEST))
        replayed = await policy_page.replayed(self._replays, form, look.reader)
        values = policy_page.values(look, {}, self._handling)
        return self._layout.page("policy.html", look, {"here": "policy", "replayed": replayed, **values})

    async def status(self, request: web.Request) -> web.StreamResponse:
        """GET /status: whether this receiver hears, remembers and reaches what it must."""
        look = self._look(request, 0)
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        try:
            values = await status_page.values(self._store, self._registry, self._site, look)
        except StoreError:
            values = status_page.outage_values(self._store.outage, look)
        return self._layout.page("status.html", look, {"here": "status", **values})

    async def calendar(self, request: web.Request) -> web.Response:
        """GET /calendar/{name}: one person's shifts; whoever knows the address may read them."""
        person, routing = self._feeds.person(request.match_info["name"]), self._current.routing
        if person is None or person not in routing.people:
            return web.Response(text="no such calendar; take its address from the page On call\n", status=404)
        body = calendar_feed.write(routing, person, self._clock(), self._brand)
        headers = {"Cache-Control": "private, max-age=900", "X-Robots-Tag": "noindex, nofollow"}
        return web.Response(body=body, content_type="text/calendar", charset="utf-8", headers=headers)

    async def history(self, request: web.Request) -> web.StreamResponse:
        """GET /history?q=db&team=payments&days=30: how a period went."""
        look, search = self._look(request, 0), history_page.Search.read(request.query)
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        found = await history_page.find(self._store, search, look)
        values = {
            "here": "history",
            "search": search,
            "found": found,
            "figures": history_page.figures(found.report, look.reader),
            "span": lambda seconds: history_page.span(seconds, look.reader),
            "teams": sorted(look.routing.teams),
            "periods": history_page.PERIODS,
        }
        return self._layout.page("history.html", look, values)

    async def history_csv(self, request: web.Request) -> web.StreamResponse:
        """GET /history.csv: the same incidents for a spreadsheet."""
        look, search = self._look(request, 0), history_page.Search.read(request.query)
        if not look.viewer.may(Role.VIEWER):
            return self._layout.problem(look, "console_link_only", 403)
        text = await history_page.as_csv(self._store, search, look)
        headers = {"Content-Disposition": f'attachment; filename="incidents-{look.now:%Y-%m-%d}.csv"'}
        return web.Response(text=text, content_type="text/csv", headers=headers)

    async def raise_form(self, request: web.Request) -> web.StreamResponse:
        """GET /raise: the form by which somebody is paged by hand."""
        return self._raising(self._look(request, 0), {}, "")

    async def raise_(self, request: web.Request) -> web.StreamResponse:
        """POST /raise: pages a person or a team, then leads to the incident."""
        look = self._look(request, 0)
        if not look.viewer.may(Role.RESPONDER):
            return self._layout.problem(look, "console_may_not_act", 403)
        form = dict(await read_fields(request, _MAX_FORM))
        incident = await raise_by_hand(self._actions, look, form)
        if isinstance(incident, str):
            return self._raising(look, form, incident, 422)
        raise web.HTTPSeeOther(f"./incidents/{incident.id}")

    def _raising(self, look: Viewing, form: Mapping[str, str], wrong: str, status: int = 200) -> web.Response:
        if not look.viewer.may(Role.RESPONDER):
            return self._layout.problem(look, "console_may_not_act", 403)
        priorities = sorted(plan.value for plan in look.routing.plans)
        values = {"form_key": incident_page.form_key(), "filled": form, "wrong": wrong, "priorities": priorities}
        return self._layout.page("raise.html", look, {**values, "whom": incident_page.whom(look)}, status)

    async def _back(
        self, request: web.Request, said: Said, numbers: list[int] | tuple[int, ...], form: Mapping[str, str]
    ) -> web.StreamResponse:
        """Lead to the page Now as it was; to its script, give only what has changed."""
        levels = 1 if said.many else 2
        look = self._look(request, levels)
        if request.headers.get("HX-Request") != "true":
            query = Filter.read(dict(parse_qsl(form.get("back", "")[:1000])), look.viewer.person).query
            raise web.HTTPSeeOther(f"{look.root}?{query}{'&' if query else ''}{said.query}")
        found = await asyncio.gather(*(self._found(number) for number in numbers[:SHOWN]))
        incidents = [one for one in found if one is not None]
        page = self._look(request, 0)  # whose links count from where that page stands
        rows = [now_page.row_of(incident, page.routing, page.reader, page.now) for incident in incidents]
        concerned = incidents[0] if incidents and not said.many else None
        return answer(self._layout.write("acted.html", page, rows=rows, notice=said_text(said, concerned, page)))

    async def _concerned(self, said: Said | None) -> Incident | None:
        return await self._found(said.number) if said and not said.many else None

    async def _found(self, number: int) -> Incident | None:
        """Read an incident for a page that shows others as well."""
        try:
            stored = await self._store.incident(number)
        except UnreadableError:
            return None
        return stored[0] if stored else None


def _number(request: web.Request) -> int:
    return int(request.match_info["id"])
