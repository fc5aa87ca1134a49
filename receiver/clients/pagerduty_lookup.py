"""Asks PagerDuty's REST API what its webhooks leave out: a user's mail address, and the key of an incident.

developer.pagerduty.com/docs/webhooks/v3-overview: a person comes with id and name, a note with its incident's id.
"""

from collections import OrderedDict
from http import HTTPStatus

import aiohttp
import pagerduty

from process.settings import Secret
from receiver.clients.pagerduty import PagerDutyCalls, PagerDutyError, Region, base_url

_PATIENCE = 2.0  # seconds; PagerDuty waits five for the answer to a webhook
_REMEMBERED = 1000  # answers of a kind
_ID = 40  # characters
_ADDRESS, _KEY = 320, 255  # characters


class PagerDutyLookup:
    """Gives what it was told before without asking again; PagerDutyError if PagerDuty does not answer."""

    def __init__(self, session: aiohttp.ClientSession, token: Secret, api_url: str, region: Region = "us") -> None:
        self._calls = PagerDutyCalls(session, _PATIENCE, api_url)
        self._client = self._calls.client(pagerduty.RestApiV2Client, token, base_url=base_url(region, "api"))
        self._known: OrderedDict[str, str] = OrderedDict()

    def close(self) -> None:
        """Release connections and threads."""
        self._calls.close()

    async def address(self, user: str) -> str:
        """Give the mail address of a user; "" if there is none."""
        return await self._field("users", user, "email", _ADDRESS)

    async def key(self, incident: str) -> str:
        """Give the key of an incident; "" if it has none."""
        return await self._field("incidents", incident, "incident_key", _KEY)

    async def _field(self, kind: str, name: str, field: str, longest: int) -> str:
        if not (name.isascii() and name.isalnum() and len(name) <= _ID):
            return ""
        path = f"/{kind}/{name}"
        if path not in self._known:
            found = await self._found(path)
            value = found.get(field) if isinstance(found, dict) else ""
            self._known[path] = value if isinstance(value, str) and len(value) <= longest else ""
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return self._known[path]

    async def _found(self, path: str) -> object:
        """Read it; None if it is not there: a user who was deleted must not keep us from the answers of others."""
        try:
            return await self._calls.run(self._client.rget, path)
        except PagerDutyError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None
