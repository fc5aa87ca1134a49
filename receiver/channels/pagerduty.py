"""The channel `pagerduty` in mode `events`: Events API v2, an alert for each role that is paged.

developer.pagerduty.com/docs/events-api-v2/trigger-events. PagerDuty takes the event and works later: a resolve must
not overtake its trigger, which the order within a lane sees to.
"""

import pagerduty

from process.settings import Secret
from receiver.channels.base import Message, Receipt
from receiver.channels.pagerduty_call import Calls, Region, dedup_key, host, known
from receiver.channels.rate_limit import PATIENCE, Pace
from receiver.incident.model import Kind

# Characters. PagerDuty takes a summary of 1,024 and an event of 512 KB, of which one character may be twelve bytes.
SUMMARY, DETAIL, DETAILS = 1024, 12_000, 36_000
_COMPONENTS = ("service", "component", "job", "instance")  # labels, the telling ones first
_ACTIONS = {Kind.PAGE: "trigger", Kind.ACKNOWLEDGED: "acknowledge", Kind.RESOLVED: "resolve"}


class PagerDutyEvents:
    """Events API v2: ``keys`` maps our services to the routing keys of their integrations."""

    def __init__(
        self,
        keys: dict[str, Secret],
        *,
        region: Region = "us",
        timeout: float = 10,
        api_url: str = "",
        client_url: str = "",
        pace: Pace | None = None,
    ) -> None:
        # developer.pagerduty.com/docs/events-api-v2/overview: about 120 calls a minute for each key.
        self._pace = pace or Pace(0.6, 20)
        self._calls, self._client_url = Calls(timeout, api_url), client_url
        make, base = pagerduty.EventsApiV2Client, host(region, "events")
        self._clients = {name: self._calls.client(make, key, base_url=base) for name, key in keys.items()}

    def close(self) -> None:
        """Let go of connections and threads."""
        self._calls.close()

    async def send(self, message: Message) -> Receipt:
        """Trigger, acknowledge or resolve the alert of this lane.

        An event has no notes, and a trigger on an open key does not ring again: updates and reminders have nothing to
        be sent as, and the alert keeps ringing by PagerDuty's own escalation policy.
        """
        if message.kind not in _ACTIONS:
            return Receipt(ref=message.thread or dedup_key(message))
        client = known(self._clients, message.address)
        await self._pace.turn(message.address, PATIENCE, urgent=message.priority == "P1")
        properties = self._trigger(message) if message.kind is Kind.PAGE else {}
        await self._calls.run(client.send_event, _ACTIONS[message.kind], dedup_key=dedup_key(message), **properties)
        return Receipt(ref=dedup_key(message))

    def _trigger(self, message: Message) -> dict[str, object]:
        payload = {
            "summary": message.headline[:SUMMARY],
            "source": "HeyPeter Monitoring",
            "severity": message.severity,
            "timestamp": message.sent_at.isoformat(),
            **_place(message.labels),
            "custom_details": _details(message),
        }
        links = [{"href": link.url, "text": link.label} for link in message.links]
        client = {"client": "HeyPeter Monitoring", "client_url": self._client_url} if self._client_url else {}
        # "This image must be served via HTTPS": another one would make the event invalid.
        image = message.image_url if message.image_url.startswith("https://") else ""
        images = {"images": [{"src": image, "alt": "The dashboard"}]} if image else {}
        return {"payload": payload, "links": links, **images, **client}


def _details(message: Message) -> dict[str, str]:
    """The text and the facts; what the event has no room for is cut, the last first."""
    details: dict[str, str] = {}
    room = DETAILS
    for name, value in (("text", message.text), *message.fields):
        details[name] = value[: min(DETAIL, room)]
        room = max(0, room - len(details[name]))
    return details


def _place(labels: dict[str, str]) -> dict[str, str]:
    """What is broken, of what kind, for whom: what PagerDuty groups and filters alerts by."""
    component = next((labels[name] for name in _COMPONENTS if labels.get(name)), "")
    named = {"class": labels.get("alertname", ""), "component": component, "group": labels.get("team", "")}
    return {name: value[:SUMMARY] for name, value in named.items() if value}
