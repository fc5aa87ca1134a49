"""The loop that reads answers back from PagerDuty's REST API: its webhooks may be switched off, or never come."""

import logging
from collections.abc import Container
from datetime import datetime, timedelta
from typing import Annotated, Any

import aiohttp
import msgspec
import pagerduty

from process.settings import Secret
from receiver.actions.answer import Action, ActionResult, Actions, ActionSource
from receiver.actions.inbound import Inbound, InboundLoop, InboundSetup
from receiver.actions.pagerduty_people import PagerDutyPeople
from receiver.channels.pagerduty import Settings
from receiver.clients.pagerduty import Agent, PagerDutyCalls, PagerDutyError, Region, base_url
from receiver.clients.pagerduty_lookup import PagerDutyLookup
from receiver.incident.acts import longest_snooze
from receiver.incident.event import Answer, HandOver, Snooze, Unacknowledge
from receiver.incident.model import EntryKind, Incident, Origin, State
from receiver.store.base import Store, StoreError

log = logging.getLogger(__name__)

_PAGE, _MOST_PAGES = 100, 20
_ASSIGNEES = 10  # of one incident
_PERIOD = 60.0  # seconds
_AGO = timedelta(days=7)
_CHANNEL = "pagerduty"
_OPEN = {"triggered", "acknowledged"}
_SETTLED = timedelta(minutes=5)  # after an end; PagerDuty takes an event and works later
_LOOKED_BACK, _MOST_ENDED = timedelta(days=1), 500


_LOG_PAGE = 100  # entries of an incident's log, the newest
_NOTHING = {ActionResult.OUTDATED, ActionResult.STUCK}  # no answer
_TOLD = {EntryKind.ASKED, EntryKind.UNACKNOWLEDGED}
_CLOSE = timedelta(seconds=60)  # two moments that mean the same
_When = Annotated[datetime, msgspec.Meta(tz=True)]


class _Acknowledgement(msgspec.Struct, frozen=True):
    acknowledger: Agent
    at: _When | None = None


class _Pending(msgspec.Struct, frozen=True):
    type: str = ""
    at: _When | None = None


class _Assignment(msgspec.Struct, frozen=True):
    assignee: Agent = Agent()


class _LogEntry(msgspec.Struct, frozen=True):
    type: str = ""
    created_at: _When | None = None
    agent: Agent | None = None


class _Incident(msgspec.Struct, frozen=True):
    status: str
    incident_key: str | None = None
    acknowledgements: tuple[_Acknowledgement, ...] = ()
    last_status_change_by: Agent | None = None
    id: str = ""
    last_status_change_at: _When | None = None
    pending_actions: tuple[_Pending, ...] = ()
    assignments: tuple[_Assignment, ...] = ()

    @property
    def given_back_at(self) -> datetime | None:
        """When it stops being acknowledged by itself: the end of a snooze, or of the service's time-out."""
        return next((one.at for one in self.pending_actions if one.type == "unacknowledge"), None)


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
        ours: str = "",
    ) -> None:
        """``ours`` is the mail address of the user by whom we write there."""
        self._actions, self._store = actions, store
        self._lookup = PagerDutyLookup(session, token, api_url, region)
        self._people = PagerDutyPeople(actions, self._lookup, ours)
        self._outdated: set[str] = set()
        self._looked_at: set[tuple[str, datetime]] = set()
        self._calls = PagerDutyCalls(session, 10.0, api_url)
        self._client = self._calls.client(pagerduty.RestApiV2Client, token, base_url=base_url(region, "api"))

    def close(self) -> None:
        """Release connections and threads."""
        self._calls.close()
        self._lookup.close()

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
        listed = {theirs.id for theirs in read}
        self._looked_at = {one for one in self._looked_at if one[0] in listed}
        known = [(theirs, await self._actions.find_all(theirs.incident_key or "")) for theirs in read]
        return [(theirs, {member.incident for member in members}) for theirs, members in known if members]

    async def _ended(self) -> set[int]:
        """Number the incidents that are over, and of which PagerDuty should know by now."""
        now = self._actions.clock()
        recent = await self._store.resolved_since(now - _LOOKED_BACK, _MOST_ENDED)
        return {i.id for i in recent if _knows(i) and i.resolved_at is not None and i.resolved_at <= now - _SETTLED}

    async def _apply(self, ours: dict[int, Incident], theirs: _Incident) -> int:
        if theirs.incident_key in self._outdated:
            return 0
        if theirs.status == "triggered":
            return await self._drifted(ours, theirs)
        if theirs.status == "resolved":
            person, action = await self._people.name(theirs.last_status_change_by), Action.RESOLVE
        else:
            agent = next((a.acknowledger for a in theirs.acknowledgements), None)
            person, action = await self._people.name(agent), Action.ACKNOWLEDGE
        waits = {n for n, one in ours.items() if action is Action.RESOLVE or one.state is State.TRIGGERED}
        count = 0
        if person and waits:
            key = theirs.incident_key or ""
            results = await self._actions.apply_to_key(ActionSource.PAGERDUTY_POLL, key, action, person, waits)
            count = self._new(key, results)
        return count + (await self._snoozed(ours, theirs) if action is Action.ACKNOWLEDGE else 0)

    def _new(self, key: str, results: tuple[ActionResult, ...]) -> int:
        if results and set(results) == {ActionResult.OUTDATED}:
            self._outdated.add(key)  # it never becomes current again, and is read for a week
        return sum(result not in _NOTHING for result in results)

    async def _snoozed(self, ours: dict[int, Incident], theirs: _Incident) -> int:
        """Whoever has snoozed it there has snoozed it here: its log says that, as the end may be a time-out's."""
        now, until = self._actions.clock(), theirs.given_back_at
        known = [one.snoozed_until for one in ours.values()]
        if until is None or until <= now or all(at is not None and abs(at - until) < _CLOSE for at in known):
            return 0
        if (theirs.id, until) in self._looked_at:
            return 0
        person = await self._people.name(await self._snoozer(theirs))
        self._looked_at.add((theirs.id, until))
        if not person:
            return 0
        longest = min(longest_snooze(one.priority) for one in ours.values())
        event = Snooze(person, Origin.PAGERDUTY, min(until, now + longest))
        return await self._act(theirs, event, ours)

    async def _snoozer(self, theirs: _Incident) -> Agent | None:
        path, query = f"/incidents/{theirs.id}/log_entries", {"limit": _LOG_PAGE}
        entries = msgspec.convert(await self._calls.run(self._client.rget, path, params=query), list[_LogEntry])
        since = max((one.at for one in theirs.acknowledgements if one.at is not None), default=None)
        for entry in entries:
            if entry.type == "snooze_log_entry" and entry.created_at is not None:
                return entry.agent if since is None or entry.created_at >= since - _CLOSE else None
        return None

    async def _drifted(self, ours: dict[int, Incident], theirs: _Incident) -> int:
        """Nobody has it there, and somebody has it here, both for a while: a person's word there counts here.

        If none has given it, the acknowledgement was lost, or has timed out there: it is told again, once.
        """
        now, at = self._actions.clock(), theirs.last_status_change_at
        taken = {n: one for n, one in ours.items() if one.state is State.ACKNOWLEDGED}
        moments = [one.acknowledged_at for one in taken.values() if one.acknowledged_at is not None]
        if not taken or at is None or now - max([at, *moments]) < _SETTLED or (theirs.id, at) in self._looked_at:
            return 0
        person = await self._people.name(theirs.last_status_change_by)
        later = {n for n, one in taken.items() if one.acknowledged_at is None or one.acknowledged_at < at}
        self._looked_at.add((theirs.id, at))
        if person and later:
            later = {number for number in later if not await self._has_heard(number, at)}
            assignee = await self._people.chosen(tuple(one.assignee for one in theirs.assignments[:_ASSIGNEES]))
            if self._actions.knows(assignee):
                return await self._act(theirs, HandOver(person, Origin.PAGERDUTY, person=assignee), later)
            return await self._act(theirs, Unacknowledge(person, Origin.PAGERDUTY), later)
        for number in taken:
            if await self._store.owe_acknowledgement_again(number, _CHANNEL, now):
                log.warning("incident %d is acknowledged, and PagerDuty does not know it: told there again", number)
        return 0

    async def _act(self, theirs: _Incident, event: Answer, ours: Container[int]) -> int:
        key = theirs.incident_key or ""
        return self._new(key, await self._actions.act_on_key(ActionSource.PAGERDUTY_POLL, key, event, only=ours))

    async def _has_heard(self, number: int, at: datetime) -> bool:
        """Say whether the webhook has told of it already."""
        stored = await self._store.incident(number)
        return stored is not None and any(
            entry.kind in _TOLD and entry.data.origin is Origin.PAGERDUTY and entry.at >= at - _CLOSE
            for entry in stored[1]
        )

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
        setup.actions,
        setup.store,
        token,
        setup.channel.session,
        settings.api_url,
        region=settings.region,
        ours=settings.from_,
    )
    setup.channel.closing.callback(poll.close)
    return Inbound(loops={"pagerduty_poll": InboundLoop(poll.run_once, _PERIOD)})
