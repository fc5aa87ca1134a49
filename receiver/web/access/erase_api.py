"""The API by which an administrator takes a departed person out of what is kept."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web

from process.web import problem, read_body
from receiver.policy.current import Current
from receiver.store.audit import Act
from receiver.store.erase import EraseStore
from receiver.web.access.guard import needs
from receiver.web.access.viewer import ADDRESS, VIEWER, Role

LIMIT = 16 * 1024  # bytes


class Erasing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``person``: the key that they had in `people`. ``texts``: names and addresses of theirs, wherever they stand."""

    person: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    texts: Annotated[tuple[str, ...], msgspec.Meta(max_length=50)] = ()


class EraseApi:
    """See the route."""

    def __init__(self, store: EraseStore, current: Current, clock: Callable[[], datetime]) -> None:
        self._store, self._current, self._clock = store, current, clock

    def routes(self) -> list[web.RouteDef]:
        """List what is served below /api/v1."""
        return [web.post("/erasures", self.erase)]

    @needs(Role.ADMIN)
    async def erase(self, request: web.Request) -> web.Response:
        """POST /api/v1/erasures with {"person": "linh", "texts": ["Linh Tran"]}: they are not in `people` any more."""
        try:
            asked = msgspec.json.decode(await read_body(request, LIMIT), type=Erasing)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return problem(400, f"invalid body (expected an object with person, texts): {error}")
        if asked.person in self._current.routing.people:
            return problem(409, "person: is in `people`; take them out of receiver.yml and reload first")
        viewer = request[VIEWER]
        act = Act(self._clock(), viewer.actor, viewer.way, request.get(ADDRESS, ""), "person.erase", "")
        try:
            done = await self._store.erase(asked.person, asked.texts, act)
        except ValueError as error:
            return problem(400, f"texts: {error}")
        return web.json_response(msgspec.to_builtins(done))
