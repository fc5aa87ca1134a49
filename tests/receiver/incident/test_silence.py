"""A silence that a person makes stops the clocks if it covers all that fires; its end is told if that fires on."""

from datetime import timedelta

import msgspec
import pytest

from receiver.incident.event import (
    Acknowledge,
    EndSilence,
    ExtendSilence,
    Resolve,
    Resumed,
    Silence,
    SilenceOver,
    Unmuted,
)
from receiver.incident.model import EntryKind, Ignored, Kind, Origin, PauseKind, Reason, State
from receiver.policy.maintenance import Window
from receiver.policy.matcher import parse
from tests.receiver.example_site import Case, an_alert, received

CONSOLE = Origin.CONSOLE


def a_case(*, acknowledged: bool = True) -> Case:
    case = Case()
    case.when(received(an_alert("a"), an_alert("b")))
    if acknowledged:
        case.when(Acknowledge("marek", CONSOLE))
    return case


def a_silence(case: Case, *muted: str) -> Silence:
    until = case.clock.now + timedelta(hours=1)
    return Silence("linh", CONSOLE, "0123456789", until, 'job="x"', "look", frozenset(muted))


OVER = SilenceOver("0123456789", "linh", 'job="x"', frozenset({"a"}))


@pytest.mark.parametrize("acknowledged", [True, False])
def test_the_clocks_stop_if_all_that_fires_is_covered(acknowledged: bool) -> None:
    case = a_case(acknowledged=acknowledged)
    state = case.state()
    owed = case.when(a_silence(case, "a", "b"))
    paused = case.incident.paused
    assert paused is not None
    assert (paused.kind, paused.name, paused.author) == (PauseKind.SILENCE, "01234567", "linh")
    assert {n.reason for n in owed} == {Reason.PAUSED}
    assert case.state() is state
    (line,) = case.noted(EntryKind.SILENCED)
    assert (line.actor, line.data.silence, line.data.text) == ("linh", "0123456789", 'job="x"')


def test_a_part_of_it_stops_nothing() -> None:
    case = a_case()
    assert case.when(a_silence(case, "a")) == []
    assert case.incident.paused is None


def an_end(case: Case, *alerts: str) -> EndSilence:
    assert case.incident.paused is not None
    return EndSilence("linh", CONSOLE, "0123456789", Unmuted(frozenset(alerts), case.incident.paused))


def test_the_clocks_go_on_if_some_of_it_is_not_muted_any_more() -> None:
    case = a_case()
    case.when(a_silence(case, "a", "b"))
    assert case.when(an_end(case, "elsewhere")) == []
    assert case.incident.paused is not None
    assert {n.reason for n in case.when(an_end(case, "b"))} == {Reason.RESUMED}
    assert case.incident.paused is None


def test_another_silence_that_was_made_while_alertmanager_was_asked_is_kept() -> None:
    case = a_case()
    case.when(a_silence(case, "a", "b"))
    end = an_end(case, "a", "b")
    case.when(msgspec.structs.replace(a_silence(case, "a", "b"), silence="another one"))
    assert case.when(end) == []
    assert case.incident.paused is not None


def test_a_maintenance_window_still_covers_what_is_not_muted_any_more() -> None:
    case = Case()
    case.when(received(an_alert("a"), an_alert("b", instance="b")))
    case.when(a_silence(case, "a", "b"))
    until = case.clock.now + timedelta(hours=1)
    window = Window("one host", (parse('instance="b"'),), case.clock.now - timedelta(hours=1), until)
    case.current.routing = msgspec.structs.replace(case.current.routing, windows=(window,))
    assert case.when(an_end(case, "b")) == []
    assert case.incident.paused is not None


def test_alerts_that_were_left_out_of_the_message_may_not_be_covered() -> None:
    case = Case()
    case.when(received(an_alert("a"), truncated=3))
    case.when(a_silence(case, "a"))
    assert case.incident.paused is None


def test_the_end_is_told_to_the_owner_and_to_who_silenced_it() -> None:
    case = a_case()
    case.when(a_silence(case, "a", "b"))
    case.when(Resumed())
    owed = case.when(OVER)
    assert {n.target.person for n in owed} >= {"linh", "marek"}
    assert {(n.kind, n.reason) for n in owed} == {(Kind.UPDATE, Reason.SILENCE_OVER)}
    assert [line.data.count for line in case.noted(EntryKind.SILENCE_OVER)] == [1]


def test_the_end_of_what_covers_nothing_that_fires_is_no_news() -> None:
    case = a_case()
    case.when(received(an_alert("a", firing=False)))
    assert case.when(OVER) == []
    assert case.noted(EntryKind.SILENCE_OVER) == []


def test_what_is_over_hears_of_silences_and_tells_nobody() -> None:
    case = a_case()
    case.when(Resolve("marek", CONSOLE))
    for event in (
        a_silence(case, "a", "b"),
        ExtendSilence("linh", CONSOLE, "x", case.clock.now),
        EndSilence("linh", CONSOLE, "x"),
    ):
        assert case.when(event) == []
    case.when(OVER)
    assert case.ignored is Ignored.OVER
    assert case.state() is State.RESOLVED
    assert case.incident.paused is None
    kinds = [line.kind for line in case.timeline][-3:]
    assert kinds == [EntryKind.SILENCED, EntryKind.SILENCE_EXTENDED, EntryKind.SILENCE_ENDED]
