"""What Alertmanager's API knows and its webhooks do not say, and what an incident learns from it."""

from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from receiver.clients.alertmanager import Seen, Silence, View
from receiver.incident.event import AlertsReceived, Paused, Resolve, Resumed, TimeDue
from receiver.incident.model import Alert, AlertGroup, EntryKind, Incident, Origin, Pause, PauseKind, State
from receiver.policy.maintenance import Window
from receiver.policy.matcher import parse as matcher
from receiver.store.base import Outline
from receiver.workers.reconcile_diff import Overview, Since, compare, fired_on, missed, still_firing
from tests.receiver.example_site import KEY, MINUTE, P2, START, Case, Clock, an_alert, people, received


def seen(
    alert: Alert,
    *,
    silences: tuple[str, ...] = (),
    inhibitors: tuple[str, ...] = (),
    muted: tuple[str, ...] = (),
) -> Seen:
    return Seen(alert, ("receiver",), silences, inhibitors, muted)


def view(*alerts: Seen, silences: tuple[Silence, ...] = ()) -> View:
    return View({one.alert.fingerprint: one for one in alerts}, {silence.id: silence for silence in silences})


def a_silence(name: str = "8f1c2d3e-aaaa", hours: float = 2) -> Silence:
    return Silence(name, "Linh Tran", "deploying the fix", START + timedelta(hours=hours))


def opened(*alerts: Alert, truncated: int = 0) -> Case:
    case = Case()
    group = AlertGroup(KEY, alerts or (an_alert(),), truncated, "receiver", {"alertname": "HighErrorRate"})
    case.when(AlertsReceived(group))
    return case


def outline(incident: Incident) -> Outline:
    return msgspec.json.decode(msgspec.json.encode(incident), type=Outline)


def concerned(incident: Incident, now: View) -> bool:
    return incident.state is State.RESOLVED or Overview(now, incident.source).concerns(outline(incident))


class Rounds:
    """One comparison after another, a minute apart."""

    def __init__(self, case: Case) -> None:
        self.case, self.since = case, Since(case.clock.elapsed)

    def one(self, now: View, *, blind: bool = False) -> list[str]:
        kinds = []
        windows = partial(self.case.current.routing.maintenance, now=self.case.clock.now)
        findings = compare(self.case.incident, now, self.since, self.case.clock.now, blind=blind, maintenance=windows)
        assert concerned(self.case.incident, now) or not findings  # else it would not be compared
        for finding in findings:
            before = self.case.incident
            self.case.when(finding.event)
            if self.case.incident != before:
                kinds.append(finding.kind)
        self.since.next_round()
        self.case.clock.forward(minutes=1)
        return kinds


def test_when_both_agree_nothing_happens() -> None:
    case = opened()
    assert Rounds(case).one(view(seen(an_alert()))) == []


def test_what_the_api_shows_as_it_is_known_is_not_compared() -> None:
    case, odd = opened(an_alert("a"), an_alert("b")), an_alert("c")
    overview = Overview(view(seen(an_alert("a")), seen(an_alert("b")), seen(odd)), "alertmanager")
    assert not overview.concerns(outline(case.incident))
    assert (overview.receivers, set(overview.loose().alerts)) == (("receiver",), {"c"})
    elsewhere = Overview(view(), "another")
    assert not elsewhere.concerns(outline(case.incident))
    assert elsewhere.receivers == ()


@pytest.mark.parametrize("over", [{"alerts": {"b": an_alert("b", firing=False)}}, {"ended": {"b": START}}])
def test_an_incident_is_compared_when_something_fires_that_is_over_in_it(over: dict[str, Any]) -> None:
    plain = opened(an_alert("a")).incident
    incident = msgspec.structs.replace(
        plain, alerts={**plain.alerts, **over.get("alerts", {})}, ended=over.get("ended", {})
    )
    alone = view(seen(an_alert("a")))
    assert not concerned(incident, alone)
    assert concerned(incident, view(*alone.alerts.values(), seen(an_alert("b"))))


def test_a_silence_pauses_by_name_author_and_end_and_its_end_resumes() -> None:
    case, silence = opened(), a_silence()
    rounds = Rounds(case)
    mute = view(seen(an_alert(), silences=(silence.id,)), silences=(silence,))
    assert rounds.one(mute) == ["silenced"]
    (paused,) = case.noted(EntryKind.PAUSED)
    assert paused.data.pause == Pause(
        PauseKind.SILENCE, "8f1c2d3e", "Linh Tran", START + timedelta(hours=2), comment="deploying the fix"
    )
    assert rounds.one(mute) == []
    case.clock.forward(minutes=30)
    assert people(case.when(TimeDue())) == []
    assert rounds.one(view(seen(an_alert()))) == ["unsilenced"]
    assert case.incident.clocks.next_due_at == case.clock.now + 14 * MINUTE


def test_a_silence_of_some_alerts_pauses_nothing() -> None:
    case, silence = opened(an_alert("a"), an_alert("b")), a_silence()
    half = view(seen(an_alert("a"), silences=(silence.id,)), seen(an_alert("b")), silences=(silence,))
    assert Rounds(case).one(half) == []


def test_of_several_silences_the_one_that_ends_first_says_until_when() -> None:
    case = opened(an_alert("a"), an_alert("b"))
    long, short = a_silence("long", 5), a_silence("short", 1)
    both = view(
        seen(an_alert("a"), silences=("long",)), seen(an_alert("b"), silences=("short",)), silences=(long, short)
    )
    Rounds(case).one(both)
    assert case.incident.paused is not None
    assert case.incident.paused.until == short.ends_at


def test_of_the_silences_of_one_alert_the_one_that_ends_last_counts() -> None:
    case = opened(an_alert("a"), an_alert("b"))
    long, short, middle = a_silence("long", 5), a_silence("short", 1), a_silence("middle", 2)
    twice = seen(an_alert("a"), silences=("short", "long"))
    other = seen(an_alert("b"), silences=("middle", "short"))
    now = view(twice, other, silences=(long, short, middle))
    Rounds(case).one(now)
    assert case.incident.paused is not None
    assert (case.incident.paused.name, case.incident.paused.until) == ("middle", middle.ends_at)


def windowed(case: Case, *instances: str, end: int = 30) -> Case:
    windows = tuple(
        Window("upgrade", (matcher(f'instance="{name}"'),), START, START + end * MINUTE) for name in instances
    )
    case.current.routing = msgspec.structs.replace(case.current.routing, windows=windows)
    return case


def test_an_alert_in_maintenance_beside_a_silenced_one_pauses_until_the_first_of_both_is_over() -> None:
    a, b = an_alert("a", instance="a"), an_alert("b", instance="b")
    case, silence = windowed(opened(a, b), "b"), a_silence()
    rounds = Rounds(case)
    both = view(seen(a, silences=(silence.id,)), seen(b), silences=(silence,))
    assert rounds.one(both) == ["silenced"]
    assert case.incident.paused is not None
    assert (case.incident.paused.kind, case.incident.paused.until) == (PauseKind.SILENCE, START + 30 * MINUTE)
    case.clock.now = START + 30 * MINUTE
    assert rounds.one(both) == ["unsilenced"]


@pytest.mark.parametrize(("silenced", "maintained"), [(20, 60), (60, 20)])
def test_where_a_silence_and_maintenance_overlap_the_later_end_counts(silenced: int, maintained: int) -> None:
    alert, silence = an_alert("a", instance="a"), a_silence(hours=silenced / 60)
    case = windowed(opened(alert), "a", end=maintained)
    rounds = Rounds(case)
    for minute in range(75):
        case.clock.now = START + minute * MINUTE
        case.when(TimeDue())
        mute = {"silences": (silence.id,)} if minute < silenced else {}
        rounds.one(view(seen(alert, **mute), silences=(silence,)))
        assert (case.incident.paused is None) == (minute >= 60), minute
    assert [entry.at for entry in case.noted(EntryKind.RESUMED)] == [START + 60 * MINUTE]


def test_what_a_cause_hides_pauses_and_names_the_cause() -> None:
    case = opened()
    cause = msgspec.structs.replace(an_alert("cause"), labels={"alertname": "DatabaseDown"})
    Rounds(case).one(view(seen(an_alert(), inhibitors=("cause",)), seen(cause)))
    assert case.incident.paused is not None
    assert (case.incident.paused.kind, case.incident.paused.name) == (PauseKind.INHIBITION, "DatabaseDown")


def test_what_vanishes_is_over_after_a_time_and_not_at_once() -> None:
    case = opened()
    rounds = Rounds(case)
    for _ in range(5):  # an Alertmanager that has just started knows nothing either
        assert rounds.one(view()) == []
    assert rounds.one(view()) == ["vanished"]
    assert case.state() is State.RESOLVED
    assert case.noted(EntryKind.VANISHED)


def test_an_alert_that_comes_back_in_between_has_not_vanished() -> None:
    case = opened()
    rounds = Rounds(case)
    for _ in range(20):
        assert rounds.one(view()) == []
        assert rounds.one(view(seen(an_alert()))) == []
    assert case.state() is State.TRIGGERED


def test_nothing_vanishes_while_monitoring_is_blind() -> None:
    case = opened()
    rounds = Rounds(case)
    for _ in range(10):
        rounds.one(view(), blind=True)
    assert case.state() is State.TRIGGERED
    assert case.incident.held


def test_a_truncated_message_is_completed() -> None:
    case = opened(an_alert("a"), truncated=2)
    whole = view(seen(an_alert("a")), seen(an_alert("b")), seen(an_alert("c")))
    assert Rounds(case).one(whole) == ["completed"]
    assert set(case.incident.alerts) == {"a", "b", "c"}
    assert case.incident.truncated == 0
    case.when(received(*(an_alert(name, firing=False) for name in "abc")))
    assert case.state() is State.RESOLVED


def test_a_truncated_message_is_not_completed_by_what_is_silenced() -> None:
    """Alertmanager would not have listed it: nobody is to be paged for it."""
    case = opened(an_alert("a", severity="warning"), truncated=1)
    silenced = seen(an_alert("b", severity="critical"), silences=("s",))
    assert Rounds(case).one(view(seen(an_alert("a", severity="warning")), silenced)) == ["completed"]
    assert [alert.fingerprint for alert in case.incident.firing] == ["a"]
    assert (case.incident.priority, case.incident.truncated) == (P2, 0)


def test_a_truncated_message_is_not_completed_by_alerts_of_other_groups() -> None:
    case = opened(an_alert("a"), truncated=1)
    other = msgspec.structs.replace(an_alert("x"), labels={"alertname": "DiskFull"})
    Rounds(case).one(view(seen(an_alert("a")), seen(other), Seen(an_alert("y"), ("another",))))
    assert set(case.incident.alerts) == {"a"}


def test_a_truncated_message_of_which_all_is_over_closes() -> None:
    case = opened(an_alert("a"), truncated=1)
    case.clock.forward(minutes=1)
    case.when(received(an_alert("a", firing=False), truncated=1))
    assert case.state() is State.TRIGGERED
    assert Rounds(case).one(view()) == ["completed"]
    assert case.state() is State.RESOLVED


def test_a_resolve_that_the_api_contradicts_for_long_enough_is_taken_back() -> None:
    case = opened(an_alert("a"), an_alert("b"))
    case.when(received(an_alert("a", firing=False), an_alert("b")))
    rounds = Rounds(case)
    both = view(seen(an_alert("a")), seen(an_alert("b")))
    assert [rounds.one(both) for _ in range(3)] == [[], [], ["confirmed"]]
    assert len(case.incident.firing) == 2


@pytest.mark.parametrize("by_hand", [False, True])
def test_an_incident_that_is_over_and_fires_on_is_taken_back_unless_a_person_ended_it(by_hand: bool) -> None:
    case = opened(an_alert("a"))
    case.when(Resolve("linh", Origin.LINK) if by_hand else received(an_alert("a", firing=False)))
    rounds = Rounds(case)
    fires = view(seen(an_alert("a")))
    assert [rounds.one(fires) for _ in range(3)] == ([[], [], []] if by_hand else [[], [], ["confirmed"]])
    assert case.state() is (State.RESOLVED if by_hand else State.TRIGGERED)


def test_a_new_episode_of_what_a_person_has_ended_is_taken_up() -> None:
    case = opened(an_alert("a"))
    case.when(Resolve("linh", Origin.LINK))
    rounds = Rounds(case)
    anew = view(seen(an_alert("a", starts_at=START + MINUTE)))
    assert [rounds.one(anew) for _ in range(3)] == [[], [], ["confirmed"]]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_between_two_rounds_is_no_time_that_has_passed(hours: int) -> None:
    case = opened(an_alert("a"), an_alert("b"), an_alert("c"))
    case.when(received(an_alert("b", firing=False)))
    rounds, now = Rounds(case), view(seen(an_alert("b")), seen(an_alert("c")))  # `a` is gone, and `b` fires on
    assert rounds.one(now) == []
    case.clock.set(hours=hours)
    assert [rounds.one(now) for _ in range(5)] == [[], ["confirmed"], [], [], ["vanished"]]


def test_what_was_over_by_itself_long_ago_and_fires_on_was_missed() -> None:
    case = opened(an_alert("a"))
    case.when(received(an_alert("a", firing=False)))
    fires, later = view(seen(an_alert("a"))), START + timedelta(hours=1)
    assert (
        missed([case.incident], [case.incident], fires, ["receiver"], timedelta(0), Since(Clock().elapsed), later) == []
    )
    assert len(missed([case.incident], [], fires, ["receiver"], timedelta(0), Since(Clock().elapsed), later)) == 1


def test_an_alert_that_begins_in_the_future_was_missed_once_it_was_seen_for_long_enough() -> None:
    ahead, clock, per_round = view(seen(an_alert("a", starts_at=START + timedelta(hours=1)))), Clock(), []
    since = Since(clock.elapsed)
    for minutes in (0, 9, 1):
        clock.forward(minutes=minutes)
        per_round.append(missed([], [], ahead, ["receiver"], timedelta(minutes=10), since, clock.now))
        since.next_round()
    assert [len(groups) for groups in per_round] == [0, 0, 1]


def test_what_nobody_has_told_us_is_found_once_it_should_have_come() -> None:
    case = opened(an_alert("a"))
    now = view(seen(an_alert("a")), seen(an_alert("b")), Seen(an_alert("c"), ("another",)))
    after = timedelta(minutes=10)
    assert missed([case.incident], [], now, ["receiver"], after, Since(Clock().elapsed), START + 9 * MINUTE) == []
    (group,) = missed([case.incident], [], now, ["receiver"], after, Since(Clock().elapsed), START + 10 * MINUTE)
    assert [alert.fingerprint for alert in group.alerts] == ["b"]
    assert group.receiver == "receiver"


def test_what_is_silenced_or_was_resolved_by_hand_was_not_missed() -> None:
    case = opened(an_alert("a"))
    closed = msgspec.structs.replace(case.incident, state=State.RESOLVED, ended={"a": START})
    now = view(seen(an_alert("a")), seen(an_alert("b"), silences=("s",)))
    assert missed([closed], [], now, ["receiver"], timedelta(0), Since(Clock().elapsed), START + MINUTE) == []
    anew = view(seen(an_alert("a", starts_at=START + MINUTE)))
    assert len(missed([closed], [], anew, ["receiver"], timedelta(0), Since(Clock().elapsed), START + MINUTE)) == 1


def test_the_events_are_of_the_kinds_that_the_metric_knows() -> None:
    assert {Paused, Resumed, AlertsReceived} >= {
        type(f.event) for f in compare(opened().incident, view(), Since(Clock().elapsed), START, blind=False)
    }


def test_an_alert_that_is_not_seen_is_not_known_to_be_silenced() -> None:
    case, silence = opened(an_alert("a"), an_alert("b")), a_silence()
    half = view(seen(an_alert("a"), silences=(silence.id,)), silences=(silence,))
    assert Rounds(case).one(half) == []
    assert case.incident.paused is None


@pytest.mark.parametrize(("minutes", "counted"), [(14, {}), (15, {1: 2})])
def test_what_fires_on_a_while_after_a_resolve_by_hand_is_counted(minutes: int, counted: dict[int, int]) -> None:
    case = opened(an_alert(), an_alert("b"))
    case.when(Resolve("linh", Origin.LINK))
    case.clock.forward(minutes=minutes)
    now = view(seen(an_alert()), seen(an_alert("b")), seen(an_alert("other")))
    names = fired_on(now.alerts, now, ("receiver",), case.clock.now)
    assert still_firing([case.incident], names, now, case.clock.now) == counted


def test_what_ended_by_itself_or_fires_in_another_route_or_begins_anew_was_not_resolved_by_hand() -> None:
    case = opened(an_alert(), an_alert("b"))
    case.when(Resolve("linh", Origin.LINK))
    case.clock.forward(hours=1)
    now, again = view(seen(an_alert()), seen(an_alert("b"))), view(seen(an_alert(starts_at=case.clock.now)))
    assert fired_on(now.alerts, now, ("another",), case.clock.now) == set()
    assert fired_on(again.alerts, again, (), case.clock.now) == set()
    newer = msgspec.structs.replace(case.incident, id=2, resolved_by="alerts")
    assert still_firing([newer, case.incident], {"a", "b"}, now, case.clock.now) == {}
    assert still_firing([case.incident], {"a"}, now, case.clock.now) == {1: 1}
