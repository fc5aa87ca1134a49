"""Does what people want done to incidents: the one funnel behind the console, the API, links, Slack and PagerDuty."""

import re
from collections.abc import Callable, Container
from datetime import datetime
from enum import StrEnum
from functools import partial

import msgspec
from prometheus_client import CollectorRegistry, Counter

from receiver.actions.taken import TellStuck, log_stuck, taken
from receiver.channels.base import read_umbrella_key
from receiver.incident.acts import act_of
from receiver.incident.delivery import is_current
from receiver.incident.event import (
    Acknowledge,
    Answer,
    Attach,
    EndSilence,
    ExtendSilence,
    HandOver,
    Note,
    Raise,
    Resolve,
    Silence,
    UndoResolve,
)
from receiver.incident.machine import transition
from receiver.incident.model import Decision, Ignored, Incident, Kind, Opening, Origin, Priority, State
from receiver.incident.undo import moment_of
from receiver.policy.current import Current
from receiver.store.base import Member, Standing, Store, Trace
from receiver.store.unreadable import UnreadableError

# What receiver.channels.base.Message puts into buttons and into the keys of providers' incidents.
_REFERENCE = re.compile(
    r"heypeter-(?P<number>\d{1,17})-(?P<opened>\d{1,12})"
    r"(?:\.(?P<episode>\d{1,12})\.(?P<installation>\d{1,16}))?"
    r"(?:\.(?P<firing>\d{1,9})\.(?P<begun>\d{1,15})|@(?P<resolved>\d{1,16}))?"
    r"(?:/(?P<lane>.*))?",
    re.ASCII | re.DOTALL,
)


class Action(StrEnum):
    """What a person may do to an incident."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    UNDO = "undo"  # a resolve by hand


class ActionSource(StrEnum):
    """Where an action came from: the metric label `source`."""

    API = "api"
    CONSOLE = "console"
    LINK = "link"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    PAGERDUTY_POLL = "pagerduty_poll"
    PUSH = "push"
    SMS = "sms"
    CALL = "call"


class ActionResult(StrEnum):
    """What became of an action: the metric label `outcome`."""

    TAKEN = "taken"
    ALREADY = "already"  # somebody had acknowledged it, or it was resolved
    UNKNOWN = "unknown"  # no such incident
    OUTDATED = "outdated"  # it answered to how the incident stood before it fired again
    UNCONFIRMED = "unconfirmed"  # a resolve, while more fires than the person has seen
    TOO_LATE = "too_late"  # the resolve cannot be undone, or not any more
    ENDED = "ended"  # its alerts have ended since the resolve, so there is nothing to undo
    IGNORED = "ignored"  # nothing that changes an incident
    REFUSED = "refused"  # a wrong signature, or not a request of that source
    OVER = "over"  # it was resolved before; the timeline says who wanted what
    OUT_OF_BOUNDS = "out_of_bounds"  # a snooze that is too long, or ends in the past
    NOBODY = "nobody"  # no such person or team, or no way to reach them
    NOT_ATTACHABLE = "not_attachable"  # the other incident is over, attached itself, or this very one
    CHANGED = "changed"  # it is not as the program has read it
    STUCK = "stuck"  # an error of the receiver's own keeps the incident from changing, or it cannot be read


_ORIGINS = {
    ActionSource.API: Origin.API,
    ActionSource.CONSOLE: Origin.CONSOLE,
    ActionSource.LINK: Origin.LINK,
    ActionSource.SLACK: Origin.SLACK,
    ActionSource.PAGERDUTY: Origin.PAGERDUTY,
    ActionSource.PAGERDUTY_POLL: Origin.PAGERDUTY,
    ActionSource.PUSH: Origin.PUSH,
    ActionSource.SMS: Origin.SMS,
    ActionSource.CALL: Origin.CALL,
}
_REFUSED = {
    Ignored.FIRED_AGAIN: ActionResult.OUTDATED,
    Ignored.UNCONFIRMED: ActionResult.UNCONFIRMED,
    Ignored.TOO_LATE: ActionResult.TOO_LATE,
    Ignored.ENDED: ActionResult.ENDED,
    Ignored.OUT_OF_BOUNDS: ActionResult.OUT_OF_BOUNDS,
    Ignored.NOBODY: ActionResult.NOBODY,
    Ignored.NOT_ATTACHABLE: ActionResult.NOT_ATTACHABLE,
}
_LONGEST_TEXT = 2000  # characters of a note, and of what an incident is raised with
_LONGEST_FORM = 200


class Reference(msgspec.Struct, frozen=True):
    """What a button or a provider's incident says of ours: its number, when it opened, and which time it was.

    ``episode`` is when it last fired (seconds since 1970) for a button, and counts from 0 for a provider's incident,
    which has a ``lane``. Those of older versions have neither that nor the installation.
    """

    number: int
    opened: int
    episode: int | None = None
    installation: int | None = None
    firing: int | None = None
    begun: int | None = None
    resolved: int | None = None  # the moment of the resolve that a button undoes, in microseconds since 1970
    lane: str = ""

    @property
    def resolved_at(self) -> datetime | None:
        """Give that moment."""
        return moment_of(self.resolved) if self.resolved is not None else None

    @classmethod
    def read(cls, text: str) -> "Reference | None":
        """Read it; None if it is not one of ours."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            return None
        numbers = {name: int(value) for name, value in match.groupdict().items() if value and name != "lane"}
        return cls(**numbers, lane=match["lane"] or "")


class Seen(msgspec.Struct, frozen=True):
    """What somebody answers to, as far as it is known; see the events of the core.

    ``lane`` and ``generation``: the provider's incident that the answer was given in.
    """

    opening: Opening | None = None
    firing: int | None = None
    begun: int | None = None
    resolved_at: datetime | None = None
    lane: str = ""
    generation: int = 0


ANYTHING = Seen()


class Request(msgspec.Struct, frozen=True):
    """By which way somebody acts: what the audit log says of it. ``form`` lets a form that is sent twice act once.

    ``lane`` and ``generation``: see ``Seen``. ``unchanged`` is asked in the transaction whether it is as it was read.
    """

    via: str = ""  # session, token, proxy, basic, link; the source if it is not given
    ip: str = ""
    form: str = ""
    lane: str = ""
    generation: int = 0
    unchanged: Callable[[Incident], bool] | None = None


PLAIN = Request()


class Actions:
    """Applies what people do, and counts what became of it."""

    def __init__(
        self,
        store: Store,
        current: Current,
        clock: Callable[[], datetime],
        registry: CollectorRegistry,
        stuck: TellStuck = log_stuck,
    ) -> None:
        """``stuck`` gets the number of each incident that cannot take an answer, and the error."""
        self._store, self._current, self.clock, self._stuck = store, current, clock, stuck
        text = "Answers of people, by where they came from and what became of them."
        self._counter = Counter("receiver_answers", text, ["source", "outcome"], registry=registry)
        for source in ActionSource:
            for result in ActionResult:
                self._counter.labels(source.value, result.value)

    def count(self, source: ActionSource, result: ActionResult) -> None:
        """Count what became of one action."""
        self._counter.labels(source.value, result.value).inc()

    async def apply(
        self, source: ActionSource, number: int, action: Action, actor: str, seen: Seen = ANYTHING, form: str = ""
    ) -> tuple[ActionResult, Incident | None]:
        """Acknowledge, resolve or undo the resolve of incident ``number``: ``act`` for those who know no more."""
        request = Request(form=form, lane=seen.lane, generation=seen.generation)
        return await self.act(source, number, _event(action, actor, _ORIGINS[source], seen), request)

    async def act(
        self, source: ActionSource, number: int, event: Answer, request: Request = PLAIN
    ) -> tuple[ActionResult, Incident | None]:
        """Do what a person wants done to incident ``number``; StoreError if it could not be made durable.

        ``event`` is one of receiver.incident.event.Answer; its origin follows from ``source``. An actor, or a person
        who is asked, is recorded by the key of the configured person that is meant. The incident comes back as it is.
        ALREADY: it was so before. It also stands for a resolve after the resolve and for an acknowledgement
        by somebody else, which are noted in the timeline. What is not as the person has seen it is refused in the same
        transaction, and what is done is in the audit log by then. STUCK, and no incident: nothing has changed.
        """
        now, result = self.clock(), ActionResult.UNKNOWN
        routing, event = self._current.routing, self._told(source, event)

        def decide(before: Incident, standing: Standing) -> Decision:
            nonlocal result
            if standing.repeated:
                decision = Decision(before, ignored=Ignored.REPEATED)
            elif _fires_elsewhere(before, event, request, standing):
                decision = Decision(before, ignored=Ignored.FIRED_AGAIN)
            elif request.unchanged is not None and not request.unchanged(before):
                result = ActionResult.CHANGED
                return Decision(before)
            else:
                decision = transition(before, _informed(event, standing), routing, now)
            result = _result(before, decision, event)
            return _without_echo(decision, request)

        parent, trace = event.to if isinstance(event, Attach) else 0, _trace(source, event, request, number)
        answering = self._store.answer(number, decide, now, request.lane, parent=parent, trace=trace)
        is_taken, incident = await taken(number, answering, self._stuck)
        result = result if is_taken else ActionResult.STUCK
        self.count(source, result)
        return result, incident

    async def raise_by_hand(
        self, source: ActionSource, event: Raise, request: Request = PLAIN
    ) -> tuple[ActionResult, Incident | None]:
        """Page a person or a team with a text: open an incident that no alert has made. NOBODY: none was opened."""
        now, result = self.clock(), ActionResult.UNKNOWN
        routing, told = self._current.routing, self._told(source, event)

        def decide(before: Incident, standing: Standing) -> Decision:
            nonlocal result
            if standing.repeated:
                decision = Decision(before, ignored=Ignored.REPEATED)
            else:
                decision = transition(before, told, routing, now)
            result = _result(before, decision, told)
            return decision

        raising = self._store.raise_by_hand(decide, now, _trace(source, told, request))
        is_taken, incident = await taken(0, raising, self._stuck)
        result = result if is_taken else ActionResult.STUCK
        self.count(source, result)
        return result, incident

    def _told(self, source: ActionSource, event: Answer) -> Answer:
        """Write the people of an event by their keys, and what a person wrote in bounded length."""
        key = self._current.routing.directory.key
        event = msgspec.structs.replace(event, actor=key(event.actor) or event.actor, origin=_ORIGINS[source])
        if isinstance(event, HandOver | Raise) and event.person:
            event = msgspec.structs.replace(event, person=key(event.person) or event.person)
        if isinstance(event, Note | Raise):
            event = msgspec.structs.replace(event, text=event.text[:_LONGEST_TEXT])
        return event

    async def apply_to_key(  # who has done what, where, and in which delivery
        self,
        source: ActionSource,
        key: str,
        action: Action,
        actor: str,
        only: Container[int] | None = None,
        *,
        form: str = "",
    ) -> tuple[ActionResult, ...]:
        """Do to every incident behind a provider's key what somebody has done there; gives what became of each.

        The key of an umbrella stands for its members: those that still wait for it, and are no P1, which has its own.
        ``only`` names those that may be concerned.
        """
        results = []
        for one in await self.find_all(key):
            concerned = read_umbrella_key(key) is None or await self._is(one.incident, partial(_waits, action))
            if concerned and (only is None or one.incident in only):
                seen = Seen(lane=one.lane, generation=one.generation)
                results.append((await self.apply(source, one.incident, action, actor, seen, form))[0])
        return tuple(results)

    async def act_on_key(
        self, source: ActionSource, key: str, event: Answer, form: str = "", only: Container[int] | None = None
    ) -> tuple[ActionResult, ...]:
        """Do to every incident behind a provider's key that is not over what somebody has done there; see above."""
        results = []
        for one in await self.find_all(key):
            concerned = await self._is(one.incident, _exists if isinstance(event, Note) else partial(_is_meant, key))
            if concerned and (only is None or one.incident in only):
                request = Request(form=form, lane=one.lane, generation=one.generation)
                results.append((await self.act(source, one.incident, event, request))[0])
        return tuple(results)

    async def _is(self, number: int, concerned: Callable[[Incident], bool]) -> bool:
        """Say whether an incident is concerned; one that cannot be read may be, and takes nothing anyway."""
        try:
            stored = await self._store.incident(number)
        except UnreadableError:
            return True
        return stored is not None and concerned(stored[0])

    async def find_all(self, key: str) -> tuple[Member, ...]:
        """Give the incidents that a provider's dedup key stands for, and which time of them."""
        umbrella = read_umbrella_key(key)
        if umbrella is None:
            one = await self.find(key)
            return (Member(one.number, one.lane, one.episode or 0),) if one else ()
        installation, number = umbrella
        return await self._store.umbrella(number) if installation == await self._store.installation() else ()

    def name_of(self, person: str) -> str:
        """Give the display name of a person."""
        return self._current.routing.directory.name(person)

    def knows(self, person: str) -> bool:
        """Say whether a key, a name or a mail address is the one of a configured person."""
        return self._current.routing.directory.key(person) is not None

    def of_pagerduty(self, user: str) -> str:
        """Give the key of the person whose user at PagerDuty has this id; "" if it is nobody's."""
        return self._current.routing.directory.of_pagerduty(user) or ""

    def key_of(self, person: str) -> str:
        """Give the key of the configured person that is meant; of anybody else, what they are called."""
        return self._current.routing.directory.key(person) or person

    async def reference(self, incident: Incident) -> str:
        """Write what a button carries of an incident as it stands."""
        opening = incident.opening
        return f"heypeter-{incident.id}-{opening.opened}.{opening.fired}.{await self._store.installation()}"

    async def find(self, text: str) -> Reference | None:
        """Read the reference of a button or of a provider's incident; None if it is to no incident of ours.

        The number alone could be of another database: the receiver may have begun a new one, and another one may open
        its incident of this number in the same second. One that cannot be read is taken for it: nothing changes there.
        """
        reference = Reference.read(text)
        if reference is None or reference.installation not in {None, await self._store.installation()}:
            return None
        opened = reference.opened
        return reference if await self._is(reference.number, lambda one: one.opening.opened == opened) else None


def _event(action: Action, actor: str, origin: Origin, seen: Seen) -> Answer:
    match action:
        case Action.ACKNOWLEDGE:
            return Acknowledge(actor, origin, seen.opening)
        case Action.RESOLVE:
            return Resolve(actor, origin, seen.opening, seen.firing, seen.begun)
    return UndoResolve(actor, origin, seen.opening, seen.resolved_at)


def _without_echo(decision: Decision, request: Request) -> Decision:
    """The provider's incident in which somebody has acknowledged need not be told so.

    Its end is told all the same: by that it is known to be over, and what fires again gets another one.
    """
    if not request.lane:
        return decision
    kept = [n for n in decision.notifications if n.kind is not Kind.ACKNOWLEDGED or n.target.lane != request.lane]
    return msgspec.structs.replace(decision, notifications=tuple(kept))


def _informed(event: Answer, standing: Standing) -> Answer:
    """Tell an event what only the transaction knows."""
    if not isinstance(event, Attach):
        return event
    return msgspec.structs.replace(event, parent=standing.parent, siblings=standing.siblings)


def _trace(source: ActionSource, event: Answer, request: Request, number: int = 0) -> Trace:
    """Say what the audit log is told. A form key is of one person, act and incident: a script may use one for many."""
    form = f"{event.actor}:{act_of(event)}:{number}:{request.form[:_LONGEST_FORM]}" if request.form else ""
    return Trace(event.actor, request.via or source.value, request.ip, act_of(event), form)


def _fires_elsewhere(incident: Incident, event: Answer, request: Request, standing: Standing) -> bool:
    """Say whether the provider's incident is an earlier one, or what would be undone fires in another incident."""
    if request.lane and not is_current(request.generation, standing.ends, incident.state):
        return True
    return isinstance(event, UndoResolve) and standing.newest != incident.id


def _result(before: Incident, decision: Decision, event: Answer) -> ActionResult:
    if decision.ignored in _REFUSED:
        return _REFUSED[decision.ignored]
    if not isinstance(event, Acknowledge | Resolve | UndoResolve):
        return _result_of_act(before, decision, event)
    after = decision.incident
    renewed = after.clocks.acknowledged_until != before.clocks.acknowledged_until
    return ActionResult.TAKEN if after.state is not before.state or renewed else ActionResult.ALREADY


def _result_of_act(before: Incident, decision: Decision, event: Answer) -> ActionResult:
    if before.state is State.RESOLVED and not isinstance(event, Note | Silence | ExtendSilence | EndSilence):
        return ActionResult.OVER
    return ActionResult.TAKEN if decision.changes(before) else ActionResult.ALREADY


def _exists(_incident: Incident) -> bool:
    return True


def _is_meant(key: str, incident: Incident) -> bool:
    """Say whether something that is done to an incident of the provider is done to this one, which may be a member."""
    is_member = read_umbrella_key(key) is not None
    return incident.state is not State.RESOLVED and not (is_member and incident.priority is Priority.P1)


def _waits(action: Action, incident: Incident) -> bool:
    over = {State.RESOLVED} if action is Action.RESOLVE else {State.RESOLVED, State.ACKNOWLEDGED}
    return incident.priority is not Priority.P1 and incident.state not in over
