"""Makes, changes and ends silences in Alertmanager from an incident; Alertmanager has them, we know whose they are."""

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import msgspec

from receiver.actions.answer import PLAIN, Actions, ActionSource, Request
from receiver.clients.alertmanager import AlertmanagerApi, Condition, Known, Wanted
from receiver.clients.http_api import ApiError, Failure
from receiver.incident.event import EndSilence, ExtendSilence, Silence, Unmuted
from receiver.incident.model import Incident, Origin, PauseKind
from receiver.policy.matcher import Matcher, MatcherError, match_all, parse
from receiver.store.audit import Act
from receiver.store.base import Store, StoreError
from receiver.store.silences import MadeSilence, SilenceStore

log = logging.getLogger(__name__)

LONGEST = timedelta(days=30)
MOST_MATCHERS = 20
LONGEST_COMMENT = 500  # characters
LONGEST_MATCHER = 500
_SHOWN = 20  # alerts of elsewhere that a preview names
_PATIENCE = 10.0  # seconds for one press, however often Alertmanager is asked
_ASKED_EVERY = 0.05  # seconds, while another receiver asks Alertmanager
_LOST = {Failure.TIMED_OUT, Failure.UNREACHABLE}  # what was sent may have arrived
_SAME = timedelta(seconds=1)
_SKEW = timedelta(minutes=5)  # Alertmanager takes a start in the past for now, and its clock may be behind ours
T = TypeVar("T")
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


class SilenceRefused(StrEnum):
    """Why a silence is not made, changed or ended."""

    NO_INCIDENT = "no_incident"
    NO_ALERTMANAGER = "no_alertmanager"  # what sent the incident has no API that is configured
    TIMES = "times"
    MATCHERS = "matchers"
    UNKNOWN = "unknown"  # it was not made from this incident
    OVER = "over"


class Preview(msgspec.Struct, frozen=True):
    """What a silence would mute: how many alerts of the incident, of so many that fire, and which others."""

    here: int
    firing: int
    elsewhere: int
    others: tuple[dict[str, str], ...] = ()  # the labels of the first of them


class NewSilence(msgspec.Struct, frozen=True):
    """What somebody wants silenced; ``matchers`` as Alertmanager writes them."""

    matchers: tuple[str, ...]
    until: datetime
    comment: str = ""


class Silences:
    """``apis``: Alertmanager's API by source. What asks Alertmanager raises ApiError if that does not answer."""

    def __init__(  # the composition root hands over every collaborator
        self,
        store: Store,
        silences: SilenceStore,
        actions: Actions,
        apis: Mapping[str, AlertmanagerApi],
        *,
        external_url: str = "",
        new_key: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._store, self._silences, self._actions, self._apis = store, silences, actions, apis
        self._url, self._new_key = external_url.rstrip("/"), new_key
        self._one_at_a_time = asyncio.Lock()  # the same form may come twice at once

    def now(self) -> datetime:
        """Give the time by which silences begin and end."""
        return self._actions.clock()

    def possible(self, incident: Incident) -> bool:
        """Say whether what sent the incident can be asked for silences."""
        return incident.source in self._apis and bool(incident.alerts)

    async def of_incident(self, number: int) -> tuple[MadeSilence, ...]:
        """Give those that were made from an incident, the newest first."""
        return await self._silences.of_incident(number)

    async def preview(self, number: int, matchers: Iterable[str]) -> Preview | SilenceRefused:
        """Count what a silence with these matchers would mute now."""
        read, found = read_matchers(matchers), await self._incident(number)
        if isinstance(found, SilenceRefused):
            return found
        if read is None:
            return SilenceRefused.MATCHERS
        seen = [one.alert for one in await self._apis[found.source].matching([_written(one) for one in read])]
        ours = {alert.fingerprint for alert in found.firing}
        others = [alert.labels for alert in seen if alert.fingerprint not in ours]
        return Preview(len(seen) - len(others), found.firing_count, len(others), tuple(others[:_SHOWN]))

    async def make(
        self, source: ActionSource, number: int, wanted: NewSilence, actor: str, request: Request = PLAIN
    ) -> MadeSilence | SilenceRefused:
        """Make a silence; a form that is sent again gives the one that it has made."""
        read, found, now = read_matchers(wanted.matchers), await self._incident(number), self._actions.clock()
        if isinstance(found, SilenceRefused):
            return found
        if read is None:
            return SilenceRefused.MATCHERS
        if not timedelta(0) < wanted.until - now <= LONGEST:
            return SilenceRefused.TIMES
        actor = self._actions.key_of(actor)
        comment = " ".join(wanted.comment.split())[:LONGEST_COMMENT] or found.title
        made = MadeSilence(
            "",
            found.source,
            number,
            actor,
            tuple(_written(one) for one in read),
            comment,
            now,
            wanted.until,
            await self._key(number, actor, request),
        )
        async with self._turn():
            earlier = next((one for one in await self.of_incident(number) if one.key == made.key), None)
            if earlier is None:
                made = msgspec.structs.replace(made, id=await _in_time(self._posted(made, read)))
                await self._silences.keep(made, _act("silence.make", actor, request, now))
        made = earlier or made
        muted = frozenset(alert.fingerprint for alert in found.firing if match_all(read, alert.labels))
        event = Silence(actor, Origin.API, made.id, made.ends_at, ", ".join(made.matchers), made.comment, muted)
        await self._actions.act(source, number, event, msgspec.structs.replace(request, form=made.key))
        return made

    async def change(  # what is changed, by whom
        self,
        source: ActionSource,
        number: int,
        silence: str,
        until: datetime,
        actor: str,
        request: Request = PLAIN,
        matchers: Iterable[str] = (),
    ) -> MadeSilence | SilenceRefused:
        """Give a silence another end, and other matchers if there are any."""
        now, texts = self._actions.clock(), tuple(matchers)
        read, row = read_matchers(texts) if texts else (), await self._of(number, silence)
        if isinstance(row, SilenceRefused):
            return row
        if read is None:
            return SilenceRefused.MATCHERS
        if not timedelta(0) < until - now <= LONGEST:
            return SilenceRefused.TIMES
        async with self._turn():
            changed = await _in_time(self._changed(row, until, read))
        if isinstance(changed, SilenceRefused):
            return changed
        actor = self._actions.key_of(actor)
        await self._silences.keep(changed, _act("silence.change", actor, request, now), replaces=row.id)
        unmuted = await self._unmuted(row) if texts else None
        event = ExtendSilence(actor, Origin.API, changed.id, until, ", ".join(changed.matchers), row.id, unmuted)
        await self._actions.act(source, number, event, msgspec.structs.replace(request, form=""))
        return changed

    async def end(
        self, source: ActionSource, number: int, silence: str, actor: str, request: Request = PLAIN
    ) -> MadeSilence | SilenceRefused:
        """End a silence now."""
        now, row = self._actions.clock(), await self._of(number, silence)
        if isinstance(row, SilenceRefused):
            return row
        await self._apis[row.source].expire(row.id)
        actor = self._actions.key_of(actor)
        if await self._silences.end(row, now, _act("silence.end", actor, request, now)):
            event = EndSilence(actor, Origin.API, row.id, await self._unmuted(row))
            await self._actions.act(source, number, event, msgspec.structs.replace(request, form=""))
        return msgspec.structs.replace(row, over_at=now, over_by=actor)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for those who have pressed before, here or on another receiver; not for all, if Alertmanager hangs."""
        await _in_time(self._one_at_a_time.acquire())
        try:
            await _in_time(self._taken())
            try:
                yield
            finally:
                with contextlib.suppress(StoreError):  # else it ends by itself
                    await self._silences.end_turn()
        finally:
            self._one_at_a_time.release()

    async def _taken(self) -> None:
        while not await self._silences.take_turn(self._actions.clock()):  # noqa: ASYNC110  # in another process
            await asyncio.sleep(_ASKED_EVERY)

    async def _incident(self, number: int) -> Incident | SilenceRefused:
        stored = await self._store.incident(number)
        if stored is None:
            return SilenceRefused.NO_INCIDENT
        return stored[0] if self.possible(stored[0]) else SilenceRefused.NO_ALERTMANAGER

    async def _of(self, number: int, silence: str) -> MadeSilence | SilenceRefused:
        """Give a silence of this incident that is not over; one that was replaced leads to the one of now."""
        known = {one.id: one for one in await self.of_incident(number)}
        row = known.get(silence)
        for _ in known:
            if row is None or not row.replaced_by:
                break
            row = known.get(row.replaced_by)
        if row is None:
            return SilenceRefused.UNKNOWN
        if row.source not in self._apis:
            return SilenceRefused.NO_ALERTMANAGER
        return SilenceRefused.OVER if row.over_at is not None else row

    async def _unmuted(self, row: MadeSilence) -> Unmuted | None:
        """Ask what nothing mutes any more of what this silence did; the reconciler does if there is no answer now."""
        stored = await self._store.incident(row.incident)
        paused = stored[0].paused if stored is not None else None
        if paused is None or paused.kind is PauseKind.MAINTENANCE:
            return None
        try:
            seen = await self._apis[row.source].matching(row.matchers)
        except ApiError as error:
            log.warning("cannot ask %s what silence %s no longer mutes: %s", row.source, row.id, error)
            return None
        return Unmuted(frozenset(one.alert.fingerprint for one in seen if not one.is_mute), paused)

    async def _key(self, number: int, actor: str, request: Request) -> str:
        """Name what a form makes, for its comment: the same for the same form of the same person."""
        if not request.form:
            return self._new_key()
        form = f"{await self._store.installation()}:{number}:{actor}:{request.form}"
        return hashlib.sha256(form.encode()).hexdigest()[:16]

    async def _posted(self, made: MadeSilence, matchers: tuple[Matcher, ...]) -> str:
        """Post a silence once: what was sent before, and was lost on the way back, is found by the key."""
        api = self._apis[made.source]
        about = f"incident #{made.incident}" + (f", {self._url}/incidents/{made.incident}" if self._url else "")
        author = self._actions.name_of(made.made_by)
        comment = f"{made.comment} ({about}) {mark(made.key)}"
        wanted = Wanted(conditions(matchers), made.made_at - _SKEW, made.ends_at, author, comment)
        there = carrying(made.key, await api.silences())
        return there.id if there is not None else await _sent(api, wanted, made.key)

    async def _changed(
        self, row: MadeSilence, until: datetime, matchers: tuple[Matcher, ...]
    ) -> MadeSilence | SilenceRefused:
        api = self._apis[row.source]
        known = (await api.silences()).get(row.id)
        if known is None or known.is_over:
            return SilenceRefused.OVER
        chosen = conditions(matchers) if matchers else known.matchers
        wanted = Wanted(chosen, known.starts_at, until, known.created_by, known.comment, known.id)
        new = await _sent(api, wanted, row.key)
        written = tuple(_written(one) for one in matchers) or row.matchers
        return msgspec.structs.replace(row, id=new, ends_at=until, matchers=written)


async def _in_time(work: Awaitable[T]) -> T:
    """Bound how long somebody waits who has pressed a button."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await work
    except TimeoutError as late:
        raise ApiError(Failure.TIMED_OUT, f"Alertmanager did not answer within {_PATIENCE:g} seconds") from late


async def _sent(api: AlertmanagerApi, wanted: Wanted, key: str) -> str:
    """Post it; if the answer is lost, look whether it has arrived."""
    try:
        return await api.post(wanted)
    except ApiError as error:
        if error.failure not in _LOST:
            raise
        there = carrying(key, await api.silences(), wanted.ends_at)
        if there is None:
            raise
        return there.id


def mark(key: str) -> str:
    """Write the key as a comment carries it."""
    return f"[heypeter {key}]"


def carrying(key: str, silences: Mapping[str, Known], until: datetime | None = None) -> Known | None:
    """Give the silence with this key in its comment that has not ended, and ends then."""
    for one in silences.values():
        if not one.is_over and mark(key) in one.comment and (until is None or abs(one.ends_at - until) < _SAME):
            return one
    return None


def read_matchers(texts: Iterable[str]) -> tuple[Matcher, ...] | None:
    """Read matchers; None if one is none, there are too many, or they would match everything."""
    kept = tuple(texts)
    if not 0 < len(kept) <= MOST_MATCHERS or any(len(text) > LONGEST_MATCHER for text in kept):
        return None
    try:
        matchers = tuple(parse(text) for text in kept)
    except MatcherError:
        return None
    return None if match_all(matchers, {}) else matchers


def conditions(matchers: Iterable[Matcher]) -> tuple[Condition, ...]:
    """Write them as the API takes them."""
    return tuple(Condition(one.label, one.value, one.op in {"=~", "!~"}, one.op in {"=", "=~"}) for one in matchers)


def equal(label: str, value: str) -> str:
    """Write the matcher of one label's value."""
    return _written(Matcher(label, "=", value))


def _written(matcher: Matcher) -> str:
    """Write one as every version of Alertmanager reads it."""
    label = matcher.label if _PLAIN.fullmatch(matcher.label) else msgspec.json.encode(matcher.label).decode()
    return f"{label}{matcher.op}{msgspec.json.encode(matcher.value).decode()}"


def _act(what: str, actor: str, request: Request, now: datetime) -> Act:
    return Act(now, actor, request.via, request.ip, what, "")
