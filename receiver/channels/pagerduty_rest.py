"""The channel `pagerduty` in mode `rest`: incidents over the REST API, as the document creates them.

developer.pagerduty.com/api-reference: made for people and rate-limited accordingly; mode `events` is the better one.
"""

import pagerduty

from process.settings import Secret
from receiver.channels.base import Failure, Message, Receipt, SendError
from receiver.channels.pagerduty_call import AlreadySoError, Calls, Region, dedup_key, host, known
from receiver.incident.model import Kind

TITLE, NOTE = 1024, 20_000  # characters
_STATES = {Kind.ACKNOWLEDGED: "acknowledged", Kind.RESOLVED: "resolved"}


class PagerDutyRest:
    """The REST API, as the document has it: ``services`` maps our services to PagerDuty's ids."""

    def __init__(
        self,
        services: dict[str, str],
        token: Secret,
        from_: str,
        *,
        region: Region = "us",
        timeout: float = 10,
        api_url: str = "",
    ) -> None:
        self._calls, self._services = Calls(timeout, api_url), services
        make, base = pagerduty.RestApiV2Client, host(region, "api")
        self._client = self._calls.client(make, token, default_from=from_, base_url=base)

    def close(self) -> None:
        """Let go of connections and threads."""
        self._calls.close()

    async def send(self, message: Message) -> Receipt:
        """Create the incident of this lane, move it on, or write a note on it."""
        service = known(self._services, message.address)
        try:
            if message.kind is Kind.PAGE:
                given = self._incident(message, service)
                return Receipt(ref=_id(await self._calls.run(self._client.rpost, "/incidents", json=given)))
            number = message.thread or await self._find(message)
            if message.kind not in _STATES:
                note = {"content": f"{message.headline}\n\n{message.text}"[:NOTE]}
                await self._calls.run(self._client.rpost, f"/incidents/{number}/notes", json=note)
                return Receipt(ref=number)
            state = {"type": "incident_reference", "status": _STATES[message.kind]}
            await self._calls.run(self._client.rput, f"/incidents/{number}", json=state)
            return Receipt(ref=number)
        except AlreadySoError:
            return Receipt(ref=message.thread)  # without a thread, the next message finds the incident by its key

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
        found = await self._calls.run(self._client.rget, "/incidents", params={"incident_key": dedup_key(message)})
        number = _id(found[0]) if isinstance(found, list) and found else ""
        if not number:
            raise SendError("PagerDuty knows no incident of this key", Failure.REFUSED, permanent=True)
        return number


def _id(incident: object) -> str:
    return str(incident.get("id") or "") if isinstance(incident, dict) else ""
