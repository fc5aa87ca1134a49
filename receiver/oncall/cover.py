"""Covers of shifts that people make among themselves: who may ask, take, accept, swap and cancel. Pure.

They stand above the file: a cover puts one person in another's place for a time, and whoever takes the pager stands for
everybody on a schedule. They are instants, whatever becomes of the shift: ``moved`` says that it has moved away.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from receiver.oncall.schedule import Amendment, Schedule, Span, shifts

LONGEST = timedelta(days=31)
FURTHEST = timedelta(days=366)  # ahead
MOST = 500  # that have not ended


class CoverState(StrEnum):
    """What has become of a cover."""

    ASKED = "asked"  # nobody has accepted yet: it changes nothing
    ACTIVE = "active"
    CANCELLED = "cancelled"


class Cover(msgspec.Struct, frozen=True, omit_defaults=True):
    """``person`` stands in for ``out`` from ``start`` to ``end``.

    ``schedule``: on this schedule, "" for whatever ``out`` holds. ``out`` is "" where the pager was taken: from
    everybody on the schedule. ``person`` is "" while anybody may accept. ``pair`` is the other half of a swap.
    """

    schedule: str
    out: str
    person: str
    start: datetime
    end: datetime
    state: CoverState = CoverState.ASKED
    made_by: str = ""
    accepted_by: str = ""
    reason: str = ""
    pair: int = 0
    id: int = 0  # given by the store

    def meets(self, other: "Cover") -> bool:
        """Say whether both are about the same place at the same time."""
        if not (self.start < other.end and other.start < self.end):
            return False
        same_place = self.schedule == other.schedule or "" in {self.schedule, other.schedule}
        return same_place and (self.out == other.out or "" in {self.out, other.out})


class Refused(StrEnum):
    """Why a cover is not made, accepted or cancelled."""

    UNKNOWN = "unknown"  # no such cover, or it has ended
    PERSON = "person"  # no such person, or the same one twice
    SCHEDULE = "schedule"  # no such schedule
    TIMES = "times"  # it ends before it begins, is over, is longer than 31 days, or lies more than a year ahead
    AWAY = "away"  # who would stand in is on vacation then
    OVERLAPS = "overlaps"  # another cover of the same place at the same time is active
    TOO_LATE = "too_late"  # somebody else has accepted, or it was cancelled
    NOT_YOURS = "not_yours"  # it is of other people
    TOO_MANY = "too_many"


class Site(msgspec.Struct, frozen=True):
    """What there is: the keys of people, the names of schedules, and who is on vacation when."""

    people: frozenset[str]
    schedules: frozenset[str]
    vacations: Mapping[str, tuple[tuple[datetime, datetime], ...]] = {}  # msgspec copies a mutable default

    def is_away(self, cover: Cover) -> bool:
        """Say whether who stands in is on vacation at any time of the cover."""
        return any(start < cover.end and cover.start < end for start, end in self.vacations.get(cover.person, ()))


Known = tuple[Cover, ...]  # those that have not ended, cancelled ones too
Changed = tuple[Cover, ...] | Refused


def make(known: Known, covers: tuple[Cover, ...], actor: str, site: Site, now: datetime, *, by_admin: bool) -> Changed:
    """Make a cover, or the two of a swap. Who stands in by their own wish asks nobody, nor does an administrator."""
    if len(known) + len(covers) > MOST:
        return Refused.TOO_MANY
    for cover in covers:
        wrong = _wrong(cover, site, now)
        if wrong is not None:
            return wrong
    made = tuple(replace(one, made_by=actor, id=0, pair=0) for one in covers)
    stands_in = {one.person for one in made}
    if "" in stands_in or (not by_admin and stands_in != {actor}):
        if not by_admin and actor not in {name for one in made for name in (one.out, one.person)}:
            return Refused.NOT_YOURS
        return tuple(replace(one, state=CoverState.ASKED, accepted_by="") for one in made)
    return _activated(known, made, actor, site)


def accept(known: Known, number: int, actor: str, site: Site, *, by_admin: bool = False) -> Changed:
    """Accept what was asked: the first to do so has it. Accepting twice changes nothing."""
    cover = next((one for one in known if one.id == number), None)
    if cover is None:
        return Refused.UNKNOWN
    if cover.state is CoverState.ACTIVE and cover.accepted_by == actor:
        return ()
    if cover.state is not CoverState.ASKED:
        return Refused.TOO_LATE
    if actor not in site.people:
        return Refused.PERSON
    both = tuple(one for one in known if one.id in {number, cover.pair})
    asked = {one.person for one in both} - {""}
    mine = actor in asked if asked else True
    if not (mine or by_admin) or (actor == cover.made_by and not by_admin):
        return Refused.NOT_YOURS
    others = tuple(one for one in known if one not in both)
    return _activated(others, tuple(replace(one, person=one.person or actor) for one in both), actor, site)


def cancel(known: Known, number: int, actor: str, *, by_admin: bool = False) -> Changed:
    """Cancel a cover, or both of a swap; those who have agreed on it may, and an administrator."""
    cover = next((one for one in known if one.id == number), None)
    if cover is None:
        return Refused.UNKNOWN
    if cover.state is CoverState.CANCELLED:
        return ()
    if not by_admin and actor not in {cover.made_by, cover.out, cover.person} - {""}:
        return Refused.NOT_YOURS
    both = (one for one in known if one.id in {number, cover.pair})
    return tuple(replace(one, state=CoverState.CANCELLED) for one in both)


def _wrong(cover: Cover, site: Site, now: datetime) -> Refused | None:
    named = {cover.out, cover.person} - {""}
    if cover.schedule not in site.schedules | {""} or not (cover.schedule or cover.out):
        return Refused.SCHEDULE
    if named - site.people or cover.out == cover.person:
        return Refused.PERSON
    lasts = timedelta(0) < cover.end - cover.start <= LONGEST
    return None if lasts and now < cover.end <= now + FURTHEST else Refused.TIMES


def _activated(others: Known, covers: tuple[Cover, ...], actor: str, site: Site) -> Changed:
    if any(site.is_away(one) for one in covers):
        return Refused.AWAY
    active = [one for one in others if one.state is CoverState.ACTIVE]
    if any(one.meets(other) for one in covers for other in active):
        return Refused.OVERLAPS
    return tuple(replace(one, state=CoverState.ACTIVE, accepted_by=actor) for one in covers)


def covered(schedule: Schedule, covers: Iterable[Cover]) -> Schedule:
    """Give a schedule as the active covers change it."""
    ours = [one for one in covers if one.state is CoverState.ACTIVE and one.schedule in {"", schedule.name}]
    if not ours:
        return schedule
    taken = tuple(Span(one.start, one.end, (one.person,)) for one in ours if not one.out)
    return replace(
        schedule,
        overrides=(*schedule.overrides, *taken),
        amendments=(*schedule.amendments, *(_amendment(one) for one in ours if one.out)),
    )


def _amendment(cover: Cover) -> Amendment:
    return Amendment(cover.start, cover.end, replace={cover.out: cover.person})


def moved(cover: Cover, schedules: Mapping[str, Schedule]) -> bool:
    """Say whether who is stood in for is not on call at all by then: the shift has moved, and the cover has not.

    ``schedules`` are those of the file. A cover of whatever somebody holds is not looked at.
    """
    schedule = schedules.get(cover.schedule)
    if not cover.out or schedule is None:
        return False
    return not any(cover.out in shift.people for shift in shifts(schedule, cover.start, cover.end))


def replaced(covers: Iterable[Cover], people: tuple[str, ...], at: datetime) -> tuple[str, ...]:
    """Give who stands in for those who hold something by name, without a schedule."""
    for cover in covers:
        if cover.state is CoverState.ACTIVE and cover.out and not cover.schedule:
            people = _amendment(cover).amended(people, at)
    return people


class CoverNews(StrEnum):
    """What somebody is told of a cover that another person has changed."""

    ASKED = "asked"  # they are asked to stand in
    MADE = "made"  # it holds, and nobody has asked them
    ACCEPTED = "accepted"  # what they had asked for
    DECLINED = "declined"  # the same, and by whom it was asked of
    WITHDRAWN = "withdrawn"  # they need not answer any more
    CANCELLED = "cancelled"  # it had been accepted


def news(before: Cover | None, after: Cover, actor: str) -> dict[str, CoverNews]:
    """Say who is to be told what of a change; who has made it knows. Nobody in particular is asked of "anybody"."""
    was = before.state if before is not None else None
    if after.state is was:
        return {}
    told = dict[str, CoverNews]()
    if after.state is CoverState.ASKED:
        told[after.person] = CoverNews.ASKED
    elif after.state is CoverState.ACTIVE:
        told = dict.fromkeys((after.out, after.person), CoverNews.MADE)
        if was is CoverState.ASKED:
            told[after.made_by] = CoverNews.ACCEPTED
    elif was is CoverState.ACTIVE:
        told = dict.fromkeys((after.out, after.person, after.made_by), CoverNews.CANCELLED)
    else:
        told = {after.person: CoverNews.WITHDRAWN, after.made_by: CoverNews.DECLINED}
    return {person: what for person, what in told.items() if person not in {"", actor}}
