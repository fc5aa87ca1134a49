"""The API of silences: makes, shows, changes and ends those in Alertmanager that belong to an incident."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from aiohttp import web

from process.web import Handler, problem
from receiver.actions.answer import ActionSource
from receiver.actions.silences import (
    LONGEST_COMMENT,
    LONGEST_MATCHER,
    MOST_MATCHERS,
    NewSilence,
    SilenceRefused,
    Silences,
    equal,
)
from receiver.clients.http_api import ApiError, Failure
from receiver.incident.group import shared_labels
from receiver.incident.model import Incident
from receiver.store.base import Store
from receiver.store.silences import MadeSilence
from receiver.web.incident_acts import Who, actor_of, incident_number, read, request_of, unknown_incident

Minutes = Annotated[int, msgspec.Meta(ge=1, le=43_200)]
Matchers = Annotated[tuple[str, ...], msgspec.Meta(max_length=MOST_MATCHERS)]


class Silencing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Matchers as Alertmanager's; without any, the labels that the incident's alerts share are taken."""

    minutes: Minutes
    matchers: Matchers = ()
    comment: Annotated[str, msgspec.Meta(max_length=LONGEST_COMMENT)] = ""
    actor: str = ""


class Changing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many minutes from now; with ``matchers``, those from now on, and then it may get another id."""

    minutes: Minutes
    matchers: Matchers = ()
    actor: str = ""


REFUSED = {
    SilenceRefused.NO_INCIDENT: (404, "there is no such incident"),
    SilenceRefused.NO_ALERTMANAGER: (409, "no alertmanager.url is configured for what sent this incident"),
    SilenceRefused.TIMES: (400, "minutes: a silence ends in the future and within 30 days"),
    SilenceRefused.MATCHERS: (400, 'matchers: expected 1 to 20 such as alertname="HighLoad", and not all alerts'),
    SilenceRefused.UNKNOWN: (404, "no such silence was made from this incident"),
    SilenceRefused.OVER: (409, "it has ended; make another one"),
}


class SilencesApi:
    """See the routes."""

    def __init__(self, silences: Silences, store: Store) -> None:
        self._silences, self._store = silences, store

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints, below /api/v1."""
        at = "/incidents/{id}/silences"
        return [
            web.get(at, self.list),
            web.get(f"{at}/preview", _answering(self.preview)),
            web.post(at, _answering(self.make)),
            web.put(f"{at}/{{silence}}", _answering(self.change)),
            web.delete(f"{at}/{{silence}}", _answering(self.end)),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents/{id}/silences: those that were made from it, the newest first."""
        if await self._incident(request) is None:
            return unknown_incident(request)
        made = await self._silences.of_incident(incident_number(request))
        return web.json_response({"silences": [shown(one) for one in made]})

    async def preview(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents/{id}/silences/preview?matcher=…&matcher=…: how many alerts it would mute."""
        incident = await self._incident(request)
        if incident is None:
            return unknown_incident(request)
        matchers = tuple(request.query.getall("matcher", [])[: MOST_MATCHERS + 1]) or matchers_of(incident)
        found = await self._silences.preview(incident.id, matchers)
        if isinstance(found, SilenceRefused):
            return problem(*REFUSED[found])
        return web.json_response({**msgspec.to_builtins(found), "matchers": matchers})

    async def make(self, request: web.Request) -> web.Response:
        """POST /api/v1/incidents/{id}/silences with {"minutes": 60}: 201; with an Idempotency-Key made once."""
        body, incident = await read(request, Silencing), await self._incident(request)
        if incident is None:
            return unknown_incident(request)
        until = _from_now(self._silences.now(), body.minutes)
        wanted = NewSilence(body.matchers or matchers_of(incident), until, body.comment)
        made = await self._silences.make(
            ActionSource.API, incident.id, wanted, actor_of(request, body), request_of(request)
        )
        return _answer(made, 201)

    async def change(self, request: web.Request) -> web.Response:
        """PUT /api/v1/incidents/{id}/silences/{silence} with {"minutes": 60}: it ends then."""
        body = await read(request, Changing)
        actor, until = actor_of(request, body), _from_now(self._silences.now(), body.minutes)
        number, silence = incident_number(request), request.match_info["silence"]
        changed = await self._silences.change(
            ActionSource.API, number, silence, until, actor, request_of(request), body.matchers
        )
        return _answer(changed, 200)

    async def end(self, request: web.Request) -> web.Response:
        """DELETE /api/v1/incidents/{id}/silences/{silence}: it ends now."""
        actor, number = actor_of(request, await read(request, Who)), incident_number(request)
        ended = await self._silences.end(
            ActionSource.API, number, request.match_info["silence"], actor, request_of(request)
        )
        return _answer(ended, 200)

    async def _incident(self, request: web.Request) -> Incident | None:
        stored = await self._store.incident(incident_number(request))
        return stored[0] if stored else None


def matchers_of(incident: Incident) -> tuple[str, ...]:
    """Give matchers of what fires in an incident, and of what has the same labels in common, as far as they fit."""
    written = (equal(name, value) for name, value in shared_labels(incident))
    return tuple(text for text in written if len(text) <= LONGEST_MATCHER)[:MOST_MATCHERS]


def status_of(error: ApiError) -> int:
    """Say as what an Alertmanager that does not answer is answered."""
    return 504 if error.failure is Failure.TIMED_OUT else 502


def shown(silence: MadeSilence) -> dict[str, object]:
    """What the API shows of a silence."""
    hidden = {"key"}
    values = {name: getattr(silence, name) for name in MadeSilence.__struct_fields__ if name not in hidden}
    return dict(msgspec.to_builtins(values))


def _answering(handler: Handler) -> Handler:
    """Say clearly that it is Alertmanager that does not answer."""

    async def answering(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return problem(status_of(error), str(error))

    return answering


def _answer(silence: MadeSilence | SilenceRefused, status: int) -> web.Response:
    if isinstance(silence, SilenceRefused):
        return problem(*REFUSED[silence])
    return web.json_response(shown(silence), status=status)


def _from_now(now: datetime, minutes: int) -> datetime:
    return (now + timedelta(minutes=minutes)).astimezone(UTC)
