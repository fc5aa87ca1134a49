"""The loop that reads answers back from PagerDuty's REST API: its webhooks may be switched off, or never come."""

import logging
from datetime import timedelta
from typing import Any

import aiohttp
import msgspec
import pagerduty

from process.settings import Secret
from receiver.actions.answer import Action, ActionResult, Actions, ActionSource
from receiver.actions.inbound import Inbound, InboundSetup
from receiver.channels.pagerduty import Settings
from receiver.clients.pagerduty import Agent, PagerDutyCalls, PagerDutyError, Region, base_url
from receiver.incident.model import Incident, State
from receiver.store.base import Store, StoreError

log = logging.getLogger(__name__)

_PAGE, _MOST_PAGES = 100, 20
_PERIOD = 60.0  # seconds
_AGO = timedelta(days=7)
_CHANNEL = "pagerduty"
_OPEN = {"triggered", "acknowledged"}
_SETTLED = timedelta(minutes=5)  # after an end; PagerDuty takes an event and works later
_LOOKED_BACK, _MOST_ENDED = timedelta(days=1), 500


class _Acknowledgement(msgspec.Struct, frozen=True):
    acknowledger: Agent


class _Incident(msgspec.Struct, frozen=True):
    status: str
    incident_key: str | None = None
    acknowledgements: tuple[_Acknowledgement, ...] = ()
    last_status_change_by: Agent = Agent()


def _knows(incident: Incident) -> bool:
    return any(target.channel == _CHANNEL for target in incident.delivery.told)


class PagerDutyPoll:
    """``run_once`` asks once, if PagerDuty was told of an incident that is open."""

    def __init__(  # the composition root hands over every collaborator
        self,
        actions: Actions,
        store: Store,
        token: Secret,
        session: aiohttp.ClientSession,
        api_url: str,
        *,
        region: Region = "us",
    ) -> None:
        self._actions, self._store = actions, store
        self._outdated: set[str] = set()
        self._calls = PagerDutyCalls(session, 10.0, api_url)
        self._client = self._calls.client(pagerduty.RestApiV2Client, token, base_url=base_url(region, "api"))

    def close(self) -> None:
        """Release connections and threads."""
        self._calls.close()

    async def run_once(self) -> int:
        """Give how many answers were new to us; what PagerDuty still holds of what is over is ended there again."""
        ours = {i.id: i for i in await self._store.still_open() if _knows(i)}
        ended = await self._ended()
        if not ours and not ended:
            return 0
        count, still_there = 0, set[int]()
        try:
            for theirs, members in await self._known():
                if theirs.status in _OPEN and members <= ended:
                    still_there |= members
                elif members & ours.keys():
                    count += await self._apply({number: ours[number] for number in members & ours.keys()}, theirs)
            for number in still_there:
                if await self._store.owe_end_again(number, _CHANNEL, self._actions.clock()):
                    log.warning("incident %d is over, and PagerDuty still holds it: resolved there again", number)
        except (PagerDutyError, StoreError, msgspec.ValidationError) as error:
            log.warning("cannot read answers from PagerDuty: %s", error)
        return count

    async def _known(self) -> list[tuple[_Incident, set[int]]]:
        """Read PagerDuty's incidents that are of ours, with the numbers of ours."""
        read = await self._read()
        self._outdated &= {theirs.incident_key or "" for theirs in read}
        known = [(theirs, await self._actions.find_all(theirs.incident_key or "")) for theirs in read]
        return [(theirs, {member.incident for member in members}) for theirs, members in known if members]

    async def _ended(self) -> set[int]:
        """Number the incidents that are over, and of which PagerDuty should know by now."""
        now = self._actions.clock()
        recent = await self._store.resolved_since(now - _LOOKED_BACK, _MOST_ENDED)
        return {i.id for i in recent if _knows(i) and i.resolved_at is not None and i.resolved_at <= now - _SETTLED}

    async def _apply(self, ours: dict[int, Incident], theirs: _Incident) -> int:
        if theirs.status == "triggered" or theirs.incident_key in self._outdated:
            return 0
        if theirs.status == "resolved":
            person, action = theirs.last_status_change_by.person, Action.RESOLVE
        else:
            agent = next((a.acknowledger for a in theirs.acknowledgements), Agent())
            person, action = agent.person, Action.ACKNOWLEDGE
        waits = {n for n, one in ours.items() if action is Action.RESOLVE or one.state is State.TRIGGERED}
        if not person or not waits:
            return 0
        key = theirs.incident_key or ""
        results = await self._actions.apply_to_key(ActionSource.PAGERDUTY_POLL, key, action, person, waits)
        if results and set(results) == {ActionResult.OUTDATED}:
            self._outdated.add(key)  # it never becomes current again, and is read for a week
        return sum(result is not ActionResult.OUTDATED for result in results)

    async def _read(self) -> list[_Incident]:
        since = (self._actions.clock() - _AGO).isoformat()
        incidents: list[_Incident] = []
        for page in range(_MOST_PAGES):
            query: dict[str, Any] = {
                "statuses[]": ["triggered", "acknowledged", "resolved"],
                "since": since,
                "limit": _PAGE,
            }
            answer = await self._calls.run(self._client.rget, "/incidents", params={**query, "offset": page * _PAGE})
            listed = msgspec.convert(answer, list[_Incident])
            incidents += listed
            if len(listed) < _PAGE:
                break
        return incidents


def build(settings: Settings, setup: InboundSetup) -> Inbound:
    """Run the loop if there is a token of the REST API."""
    token = setup.channel.optional_secret(".api_token", settings.api_token, settings.api_token_file)
    if token is None:
        return Inbound()
    poll = PagerDutyPoll(
        setup.actions, setup.store, token, setup.channel.session, settings.api_url, region=settings.region
    )
    setup.channel.closing.callback(poll.close)
    return Inbound(loops={"pagerduty_poll": (poll.run_once, _PERIOD)})
