"""What people set for a while: covers of shifts, "I'm awake", maintenance; kept in the store, above the file."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

import msgspec

from receiver.actions.answer import PLAIN, Request
from receiver.actions.many import for_many
from receiver.actions.taken import TellStuck, log_stuck, taken
from receiver.incident.event import Paused, Resumed, TakenAwake
from receiver.incident.group import maintenance
from receiver.incident.machine import transition
from receiver.incident.model import Incident, PauseKind, State
from receiver.oncall.cover import Changed, Cover, CoverState, Site, accept, cancel, make, moved
from receiver.policy.current import Current
from receiver.policy.maintenance import Window
from receiver.policy.matcher import MatcherError, parse
from receiver.store.audit import Act
from receiver.store.base import Outline, Store
from receiver.store.duty import DutyStore, MadeWindow

AWAKE_FOR = timedelta(minutes=30)
LONGEST_WINDOW = timedelta(days=7)
MOST_WINDOWS = 100
_MOST_MATCHERS, _LONGEST_MATCHER = 20, 500
_SETTLES = timedelta(seconds=20)  # longer than a change waits, and two looks are apart
_LONGEST_REASON = 500
_LONGEST_FORM = 200


class WindowRefused(StrEnum):
    """Why a maintenance window is not made."""

    TIMES = "times"
    MATCHERS = "matchers"
    TOO_MANY = "too_many"


class Duty:
    """Changes it, and lets ``current`` answer by it at once; ``refresh`` finds what another process has changed."""

    def __init__(
        self,
        store: Store,
        duty: DutyStore,
        current: Current,
        clock: Callable[[], datetime],
        stuck: TellStuck = log_stuck,
    ) -> None:
        """``stuck``: see Actions."""
        self._store, self._duty, self._current, self._clock, self._stuck = store, duty, current, clock, stuck
        self._windows: dict[int, MadeWindow] = {}  # by number, as they were read last
        # Until when something may be decided by the windows of before: without one that is new, by one that is gone.
        self._pauses_until: datetime | None = None
        self._resumes_until: datetime | None = None

    async def follow(self) -> None:
        """Take over what another receiver has changed, also for what was opened or paused here in between.

        It is called every few seconds: what was decided by the windows of before may be committed a little later.
        """
        await self.refresh()
        now = self._clock()
        if self._pauses_until is not None and now < self._pauses_until:
            await self._pause_running(now)
        if self._resumes_until is not None and now < self._resumes_until:
            await self._resume_paused()

    async def refresh(self) -> None:
        """Read what holds now; StoreError if that fails, and then what was known goes on."""
        now = self._clock()
        covers = tuple(one for one in await self._duty.covers(now) if one.state is CoverState.ACTIVE)
        awake, made = await self._duty.awake(now), await self._duty.windows(now)
        before, self._windows = self._windows, {one.id: one for one in made}
        if self._windows.keys() - before.keys():
            self._pauses_until = now + _SETTLES
        if any(one.end > now for number, one in before.items() if number not in self._windows):
            self._resumes_until = now + _SETTLES
        windows = (window_of(one) for one in made)
        self._current.set_duty(covers, awake, tuple(window for window in windows if window is not None))

    # Covers

    async def covers(self) -> tuple[Cover, ...]:
        """Give those that have not ended, asked and cancelled ones too."""
        return await self._duty.covers(self._clock())

    def moved(self, cover: Cover) -> bool:
        """Say whether the shift that a cover is for has moved away from it."""
        return moved(cover, self._current.schedules)

    async def make(
        self, covers: Iterable[Cover], actor: str, request: Request = PLAIN, *, by_admin: bool = False
    ) -> Changed:
        """Make a cover, or the two of a swap: asked, or active where nobody need be asked. Names of people will do."""
        now, made = self._clock(), tuple(self._told(one) for one in covers)
        decide = partial(make, covers=made, actor=self._key(actor), site=self._site(), now=now, by_admin=by_admin)
        return await self._change(decide, "cover.make", actor, request)

    async def accept(self, number: int, actor: str, request: Request = PLAIN, *, by_admin: bool = False) -> Changed:
        """Accept what was asked; the first has it."""
        decide = partial(accept, number=number, actor=self._key(actor), site=self._site(), by_admin=by_admin)
        return await self._change(decide, "cover.accept", actor, request, number)

    async def cancel(self, number: int, actor: str, request: Request = PLAIN, *, by_admin: bool = False) -> Changed:
        """Cancel a cover, and the other half of a swap."""
        decide = partial(cancel, number=number, actor=self._key(actor), by_admin=by_admin)
        return await self._change(decide, "cover.cancel", actor, request, number)

    async def _change(
        self, decide: Callable[[tuple[Cover, ...]], Changed], what: str, actor: str, request: Request, number: int = 0
    ) -> Changed:
        now = self._clock()
        act = self._act(what, actor, request, now)
        changed = await self._duty.change_covers(decide, now, act, _form(act, number, request))
        await self.refresh()
        return changed

    def _site(self) -> Site:
        plain = self._current.plain
        vacations = {key: person.vacation for key, person in plain.people.items() if person.vacation}
        return Site(frozenset(plain.people), frozenset(plain.schedules), vacations)

    def _told(self, cover: Cover) -> Cover:
        out, person = self._key(cover.out) if cover.out else "", self._key(cover.person) if cover.person else ""
        return msgspec.structs.replace(cover, out=out, person=person, reason=cover.reason[:_LONGEST_REASON])

    # Awake

    async def awake(self) -> dict[str, datetime]:
        """Say who is awake, and until when."""
        return dict(await self._duty.awake(self._clock()))

    async def set_awake(self, person: str, request: Request = PLAIN, *, awake: bool = True) -> datetime | None:
        """Be awake for half an hour from now, or not any more. None: only a configured person can be.

        What they have taken so lasts as long, so that all of it ends together.
        """
        now, key = self._clock(), self._key(person)
        if key not in self._current.plain.people:
            return None
        until = now + AWAKE_FOR if awake else now
        await self._duty.set_awake(
            key, until, self._act("person.awake" if awake else "person.asleep", key, request, now)
        )
        await self.refresh()
        event = TakenAwake(key, until)
        await for_many(await self.taken_awake(key), lambda one: self._tell(one, event))
        return until

    async def taken_awake(self, person: str) -> list[Incident]:
        """Give what a person has taken while they were awake, and has not looked at since."""
        key, still_open = self._key(person), await self._store.still_open()
        return [one for one in still_open if one.taken_awake and one.acknowledged_by == key]

    # Maintenance

    async def windows(self) -> tuple[MadeWindow, ...]:
        """Give those that have not ended."""
        return await self._duty.windows(self._clock())

    async def add_window(self, window: MadeWindow, actor: str, request: Request = PLAIN) -> MadeWindow | WindowRefused:
        """Make a maintenance window, and pause what stands in it."""
        now, key = self._clock(), self._key(actor)
        made = msgspec.structs.replace(window, by=key, reason=window.reason[:_LONGEST_REASON])
        if not (timedelta(0) < made.end - made.start <= LONGEST_WINDOW and made.end > now):
            return WindowRefused.TIMES
        if window_of(made) is None:
            return WindowRefused.MATCHERS
        act = self._act("window.make", actor, request, now)
        kept = await self._duty.add_window(made, MOST_WINDOWS, act, _form(act, window.incident, request))
        if kept is None:
            return WindowRefused.TOO_MANY
        await self.refresh()
        await self._pause_running(now)
        return kept

    async def end_window(self, number: int, actor: str, request: Request = PLAIN) -> bool:
        """End a window now, and let go on what stood in it."""
        now = self._clock()
        ended = await self._duty.end_window(number, now, self._act("window.end", actor, request, now))
        await self.refresh()
        if ended:
            await self._resume_paused()
        return ended

    async def _pause_running(self, now: datetime) -> None:
        running = await self._store.still_open(lambda one: one.paused is None)
        await for_many(running, lambda one: self._pause(one, now))

    async def _resume_paused(self) -> None:
        paused = await self._store.still_open(_in_maintenance)
        await for_many(paused, lambda one: self._tell(one, Resumed()))

    async def _pause(self, incident: Incident, now: datetime) -> None:
        pause = maintenance(incident, self._current.routing, now)
        if pause is not None:
            await self._tell(incident, Paused(pause))

    async def _tell(self, incident: Incident, event: Paused | Resumed | TakenAwake) -> None:
        routing, now = self._current.routing, self._clock()
        if incident.state is not State.RESOLVED:
            decide = partial(transition, event=event, policy=routing, now=now)
            await taken(incident.id, self._store.apply(incident.id, decide, now), self._stuck)

    def _key(self, name: str) -> str:
        return self._current.plain.directory.key(name) or name

    def _act(self, what: str, actor: str, request: Request, now: datetime) -> Act:
        return Act(now, self._key(actor), request.via, request.ip, what, "")


def _in_maintenance(one: Outline) -> bool:
    return one.paused is not None and one.paused.kind is PauseKind.MAINTENANCE


def _form(act: Act, number: int, request: Request) -> str:
    return f"{act.actor}:{act.act}:{number}:{request.form[:_LONGEST_FORM]}" if request.form else ""


def window_of(made: MadeWindow) -> Window | None:
    """Read its matchers; None if they are not, or would match everything."""
    texts = made.matchers
    if not 0 < len(texts) <= _MOST_MATCHERS or any(len(text) > _LONGEST_MATCHER for text in texts):
        return None
    try:
        matchers = tuple(parse(text) for text in texts)
    except MatcherError:
        return None
    name = made.reason or f"#{made.id}"
    matches_all = all(matcher.matches({}) for matcher in matchers)
    return None if matches_all else Window(name, matchers, made.start, made.end)
