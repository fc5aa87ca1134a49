"""What the comparison is worth: wrong arithmetic of ours is found with the answers of each source."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.importing import proof
from receiver.importing.document import document
from receiver.importing.draft import Draft
from receiver.importing.sources import SOURCES
from receiver.oncall import schedule as schedules
from receiver.oncall import turns
from receiver.oncall.schedule import Amendment, Schedule, Span
from receiver.oncall.turns import Clock, WeekWindow
from tests.receiver.importing import oncall_installation, opsgenie_reference
from tests.receiver.importing import test_goalert as goalert
from tests.receiver.importing import test_opsgenie as opsgenie
from tests.receiver.importing import test_pagerduty as pagerduty

START = datetime(2026, 10, 1, 1, tzinfo=UTC)
END = START + timedelta(days=88)  # with the change of the clocks in autumn


@cache
def answers(source: str) -> dict[str, object]:
    if source == "oncall":
        return {**oncall_installation.lists(), "final_shifts": oncall_installation.finals()}
    if source == "goalert":
        return dict(goalert.lists())
    if source == "pagerduty":
        return {**pagerduty.lists(), "overrides": pagerduty.OVERRIDES, "rendered": pagerduty.rendered()}
    begin, end = datetime(2026, 9, 28, tzinfo=UTC), datetime(2026, 12, 30, tzinfo=UTC)
    shown = opsgenie_reference.timeline(opsgenie.SCHEDULES[0], opsgenie.OVERRIDES, opsgenie.FORWARDING, begin, end)
    return {
        "users": opsgenie.USERS,
        "schedules": opsgenie.SCHEDULES,
        "overrides": {"s1": opsgenie.OVERRIDES},
        "forwarding_rules": opsgenie.FORWARDING,
        "timelines": {"s1": shown},
    }


@cache
def draft(source: str) -> Draft:
    return SOURCES[source].draft(answers(source), goalert.NOW)


def unexplained(source: str, folder: Path) -> int:
    path = folder / "receiver.yml"
    path.write_text(document(draft(source)), "utf-8")
    found = proof.differences(build_routing(*load(path)).schedules, draft(source).rendered, START, END)
    return sum(not one.cause for one in found)


@dataclass
class Mutant:
    """Wrong arithmetic, and the sources whose installations show it."""

    name: str
    of: object
    attribute: str
    wrong: object
    sources: tuple[str, ...] = tuple(SOURCES)


TURN, WALL, LEVELS = Clock.turn, turns.wall, vars(Schedule)["levels"].func


def summer(day: date, minute: int, zone: str) -> datetime:
    """Count on from a day in summer, as if the offset never changed."""
    first = date(2026, 8, 1)
    return WALL(first, 0, zone) + (day - first) + timedelta(minutes=minute)


MUTANTS = [
    Mutant("the next in turn", Clock, "turn", lambda clock, at: TURN(clock, at) + 1),
    Mutant("the first in turn", Clock, "turn", lambda _clock, _at: 0),
    Mutant("UTC everywhere", turns, "wall", lambda day, minute, _zone: WALL(day, minute, "UTC")),
    Mutant("an hour late", turns, "wall", lambda day, minute, zone: WALL(day, minute, zone) + timedelta(hours=1)),
    Mutant("a day early", turns, "wall", lambda day, minute, zone: WALL(day - timedelta(days=1), minute, zone)),
    Mutant("no clock change", turns, "wall", summer),
    Mutant("no windows", WeekWindow, "contains", lambda _window, _at: True),
    Mutant("no overrides", Span, "covers", lambda _span, _at: False, ("goalert", "opsgenie", "pagerduty")),
    Mutant("no amendments", Amendment, "amended", lambda _one, people, _at: people, ("goalert",)),
    Mutant("no levels", Schedule, "levels", property(lambda one: (one.layers,)), ("oncall", "pagerduty")),
    Mutant("wrong way up", Schedule, "levels", property(lambda one: LEVELS(one)[::-1]), ("oncall", "pagerduty")),
    Mutant("one at a time", Schedule, "levels", property(lambda one: tuple((x,) for x in one.layers)), ("goalert",)),
    Mutant("no stand-in", schedules, "present", lambda _one, people, _at: people, ("opsgenie",)),
    Mutant("parts of turns whole", schedules, "_part_ends", lambda *_: END + timedelta(days=9999), ("oncall",)),
]


@pytest.mark.parametrize("source", SOURCES)
def test_right_arithmetic_agrees(source: str, tmp_path: Path) -> None:
    assert unexplained(source, tmp_path) == 0


@pytest.mark.parametrize(
    ("mutant", "source"),
    [pytest.param(one, source, id=f"{one.name}-{source}") for one in MUTANTS for source in one.sources],
)
def test_wrong_arithmetic_is_found(
    mutant: Mutant, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft(source)  # before: who is first in GoAlert's turns is counted by the same clock
    monkeypatch.setattr(mutant.of, mutant.attribute, mutant.wrong)
    assert unexplained(source, tmp_path)
