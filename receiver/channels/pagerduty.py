"""The channel `pagerduty` in mode `events`: Events API v2, an alert for each role that is paged.

developer.pagerduty.com/docs/events-api-v2/trigger-events. PagerDuty takes the event and works later: a resolve must
not overtake its trigger, which the order within a lane sees to.
"""

import pagerduty

from process.settings import Secret
from receiver.channels.base import Message, Receipt
from receiver.channels.pagerduty_call import Calls, dedup_key, known
from receiver.incident import Kind

SUMMARY, DETAIL = 1024, 20_000  # characters; a summary's limit is PagerDuty's, the whole event's is 512 KB
_ACTIONS = {Kind.PAGE: "trigger", Kind.ACKNOWLEDGED: "acknowledge", Kind.RESOLVED: "resolve"}


class PagerDutyEvents:
    """Events API v2: ``keys`` maps our services to the routing keys of their integrations."""

    def __init__(
        self, keys: dict[str, Secret], *, timeout: float = 10, api_url: str = "", client_url: str = ""
    ) -> None:
        self._calls, self._client_url = Calls(timeout, api_url), client_url
        self._clients = {n: self._calls.client(pagerduty.EventsApiV2Client, key) for n, key in keys.items()}

    def close(self) -> None:
        """Let go of connections and threads."""
        self._calls.close()

    async def send(self, message: Message) -> Receipt:
        """Trigger, acknowledge or resolve the alert of this lane."""
        client = known(self._clients, message.address)
        properties = self._trigger(message) if message.kind is Kind.PAGE else {}
        await self._calls.run(client.send_event, _ACTIONS[message.kind], dedup_key=dedup_key(message), **properties)
        return Receipt(ref=dedup_key(message))

    def _trigger(self, message: Message) -> dict[str, object]:
        payload = {
            "summary": message.headline[:SUMMARY],
            "source": "HeyPeter Monitoring",
            "severity": message.severity,
            "timestamp": message.sent_at.isoformat(),
            "custom_details": {
                **{name: value[:DETAIL] for name, value in message.fields},
                "text": message.text[:DETAIL],
            },
        }
        links = [{"href": link.url, "text": link.label} for link in message.links]
        client = {"client": "HeyPeter Monitoring", "client_url": self._client_url} if self._client_url else {}
        return {"payload": payload, "links": links, **client}
