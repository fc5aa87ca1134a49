"""One group may mix hosts, teams and drills: each firing alert is asked, at opening, joining, leaving and reopening."""

from datetime import timedelta

import msgspec
import pytest

from receiver.incident.alerts import LISTED
from receiver.incident.delivery import pointless
from receiver.incident.event import Acknowledge, HandOver, TimeDue
from receiver.incident.model import Alert, EntryKind, Kind, Notification, Origin, PauseKind, Plan, Reason, State
from receiver.oncall.contact_rules import Contact
from receiver.policy.maintenance import Window
from receiver.policy.matcher import parse as matcher
from receiver.policy.routing import Route, Routing
from tests.receiver.example_site import MINUTE, P1, P2, P3, START, Case, an_alert, people, received, steps, the_routing

DB1 = an_alert("1", starts_at=START - 10 * MINUTE, instance="db1")
DB2 = an_alert("2", starts_at=START - timedelta(seconds=5), instance="db2")


def window(instance: str, *, start: float = -60, end: float = 60) -> Window:
    return Window(instance, (matcher(f'instance="{instance}"'),), START + start * MINUTE, START + end * MINUTE)


def routed(*windows: Window) -> Routing:
    """Two teams, a security channel, and maintenance."""
    routing = the_routing()
    teams = {**routing.teams, "payments": (Contact("slack", "#payments"),)}
    routes = (Route((matcher('category="security"'),), (Contact("slack", "#security"),)),)
    return msgspec.structs.replace(routing, teams=teams, routes=routes, windows=windows)


def places(owed: list[Notification]) -> set[str]:
    return {n.target.address for n in owed if not n.target.person}


def test_maintenance_of_the_first_alert_does_not_hide_the_second() -> None:
    case = Case(routed(window("db1")))
    assert people(case.when(received(DB1, DB2))) == ["linh"]
    assert case.incident.paused is None
    assert case.incident.labels["instance"] == "db2"  # it is called after what people have to look at


def test_maintenance_of_all_pauses_until_the_first_window_ends() -> None:
    case = Case(routed(window("db1", end=60), window("db2", end=30)))
    assert case.when(received(DB1, DB2)) == []
    paused = case.incident.paused
    assert paused is not None
    assert (paused.kind, paused.until) == (PauseKind.MAINTENANCE, START + 30 * MINUTE)
    case.clock.forward(minutes=30)
    assert people(case.when(TimeDue())) == ["linh"]


def test_when_what_stands_outside_leaves_the_rest_is_under_maintenance() -> None:
    case = Case(routed(window("db1")))
    case.when(received(DB1, DB2))
    case.when(received(msgspec.structs.replace(DB2, firing=False)))
    assert case.incident.paused is not None
    case.clock.forward(minutes=15)
    assert people(case.when(TimeDue())) == []


@pytest.mark.parametrize("first", [0, 1])
def test_a_group_is_a_drill_only_if_every_alert_is(first: int) -> None:
    drill, real = an_alert("d", drill="true", starts_at=START - MINUTE), an_alert("r", alertname="PaymentsDown")
    case = Case()
    case.when(received(*(drill, real) if first == 0 else (real, drill)))
    assert (case.incident.title.partition(":")[0], case.incident.drill) == ("PaymentsDown", False)
    case.when(received(msgspec.structs.replace(real, firing=False)))
    assert (case.state(), case.incident.drill) == (State.TRIGGERED, True)
    case.when(received(msgspec.structs.replace(drill, firing=False)))
    assert (case.state(), case.incident.drill) == (State.RESOLVED, False)  # it was no drill, and counts


def test_a_real_alert_that_joins_a_drill_is_paged_from_the_first_step_whoever_has_the_drill() -> None:
    drill, real = an_alert("d", drill="true"), an_alert("r", severity="info")
    case = Case()
    case.when(received(drill))
    case.when(Acknowledge("linh", Origin.LINK))
    case.clock.forward(minutes=1)
    case.when(received(drill, real))
    assert (case.state(), case.incident.drill, case.incident.priority) == (State.TRIGGERED, False, P3)
    case.clock.forward(minutes=15)
    assert people(case.when(TimeDue())) == ["linh"]


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_drill_that_is_left_makes_nothing_more_urgent(acknowledged: bool) -> None:
    drill, real = an_alert("d", drill="true"), an_alert("r", severity="warning")
    case = Case(routed())
    case.when(received(drill, real))
    if acknowledged:
        case.when(Acknowledge("linh", Origin.API))
    state = case.state()
    assert case.when(received(drill, msgspec.structs.replace(real, firing=False, ends_at=START + MINUTE))) == []
    assert (case.state(), case.incident.priority, case.incident.drill) == (state, P2, True)


def test_what_was_real_among_drills_is_remembered_though_it_is_not_listed_any_more() -> None:
    case = Case()
    ended = [an_alert("r"), *(an_alert(f"d{n}", drill="true") for n in range(LISTED + 1))]
    case.when(received(*ended, an_alert("d", drill="true")))
    case.when(received(*(msgspec.structs.replace(one, firing=False, ends_at=START + MINUTE) for one in ended)))
    assert case.incident.drill  # what fires is one
    assert (case.incident.unlisted, case.incident.real) == (2, True)
    case.when(received(an_alert("d", drill="true", firing=False)))
    assert (case.state(), case.incident.drill) == (State.RESOLVED, False)


def test_a_drill_makes_nothing_more_urgent() -> None:
    case = Case()
    case.when(received(an_alert("d", drill="true"), an_alert("r", severity="warning")))
    assert case.incident.priority is P2


def test_the_places_are_those_of_every_firing_alert() -> None:
    case = Case(routed())
    owed = case.when(received(an_alert("a"), an_alert("b", team="payments"), an_alert("c", category="security")))
    assert places(owed) == {"#alerts-backend", "#payments", "#security"}


def test_a_route_that_stands_in_for_a_team_stands_in_for_its_own_alerts_only() -> None:
    routing = routed()
    alone = msgspec.structs.replace(routing, routes=(msgspec.structs.replace(routing.routes[0], only=True),))
    owed = Case(alone).when(received(an_alert("a", category="security"), an_alert("b", team="payments")))
    assert places(owed) == {"#security", "#payments"}


def test_what_was_handed_over_keeps_the_routes_of_every_firing_alert() -> None:
    case = Case(routed())
    case.when(received(an_alert("a"), an_alert("b", team="frontend", category="security")))
    owed = case.when(HandOver("linh", Origin.API, team="payments"))
    assert places([n for n in owed if n.kind is Kind.PAGE]) == {"#security", "#payments"}
    other = Case(routed())
    other.when(received(an_alert("a")))
    other.when(HandOver("linh", Origin.API, team="payments"))
    owed = other.when(received(an_alert("a"), an_alert("c", category="security")))
    assert places([n for n in owed if n.kind is Kind.PAGE]) == {"#security"}


def test_a_group_of_two_teams_says_so_once() -> None:
    case = Case(routed())
    case.when(received(an_alert("a"), an_alert("b", team="payments")))
    assert [entry.data.teams for entry in case.noted(EntryKind.TEAMS_MIXED)] == [("backend", "payments")]
    case.when(received(an_alert("a"), an_alert("b", team="payments"), an_alert("c")))
    assert len(case.noted(EntryKind.TEAMS_MIXED)) == 1
    one = Case(routed())
    one.when(received(an_alert("a"), an_alert("c")))
    assert not one.noted(EntryKind.TEAMS_MIXED)


def test_what_is_unknown_of_any_alert_is_remarked_and_once() -> None:
    case = Case(routed())
    odd = [an_alert(name, severity="odd", team="nobody") for name in "bcd"]
    case.when(received(an_alert("a"), *odd))
    assert [e.data.named for e in case.noted(EntryKind.SEVERITY_UNKNOWN)] == ["odd"]
    assert [e.data.named for e in case.noted(EntryKind.TEAM_UNKNOWN)] == ["nobody"]
    case.when(received(an_alert("e", severity="odd")))
    assert len(case.noted(EntryKind.SEVERITY_UNKNOWN)) == 1


@pytest.mark.parametrize("answered", [False, True])
def test_an_alert_that_joins_brings_its_teams_places(answered: bool) -> None:
    case = Case(routed())
    case.when(received(an_alert("a")))
    if answered:
        case.when(Acknowledge("linh", Origin.LINK))
    case.clock.forward(minutes=2)
    owed = case.when(received(an_alert("a"), an_alert("b", team="payments", category="security")))
    pages = [n for n in owed if n.kind is Kind.PAGE]
    assert places(pages) == {"#security", "#payments"}
    assert people(owed) == []
    assert [pointless(n.kind, case.clock.now, case.incident) for n in pages] == [False, False]
    assert case.when(received(an_alert("a"), an_alert("c", team="payments"))) == []  # it knows


def test_nobody_is_told_of_what_joins_while_it_is_paused() -> None:
    both = window("db1"), msgspec.structs.replace(window("db2"), matchers=(matcher('team="payments"'),))
    case = Case(routed(*both))
    case.when(received(DB1))
    assert case.when(received(DB1, an_alert("b", team="payments"))) == []


def test_an_alert_that_reopens_an_incident_brings_its_team() -> None:
    case = Case(routed())
    case.when(received(an_alert("a")))
    case.clock.forward(minutes=1)
    case.when(received(an_alert("a", firing=False)))
    case.clock.forward(minutes=2)
    owed = case.when(received(an_alert("b", starts_at=case.clock.now, team="payments", category="security")))
    assert places(owed) == {"#payments", "#security"}
    assert case.incident.team == "payments"


def test_an_incident_is_called_after_the_most_urgent_alert_and_of_those_the_oldest() -> None:
    case = Case(routed())
    old = an_alert("o", alertname="Old", severity="warning", starts_at=START - 9 * MINUTE)
    older = an_alert("x", alertname="Older", starts_at=START - 5 * MINUTE, team="payments")
    newer = an_alert("y", alertname="Newer", starts_at=START - 1 * MINUTE)
    case.when(received(old, newer, older))
    assert (case.incident.title.partition(":")[0], case.incident.team, case.incident.priority) == (
        *("Older", "payments"),
        P1,
    )


A, B = an_alert("1", instance="db1", alertname="A"), an_alert("2", instance="db2", alertname="B", team="payments")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((an_alert("d", drill="true"),), (an_alert("d", drill="true"), B)),  # it is no drill any more
        ((DB1,), (DB1, B)),  # DB1 is under maintenance
        ((an_alert("w", severity="warning"),), (an_alert("w", severity="warning"), B)),
        (
            (an_alert("w", severity="info"),),
            (an_alert("w", severity="info"), msgspec.structs.replace(B, labels={**B.labels, "severity": "warning"})),
        ),
    ],
)
def test_what_makes_it_begin_or_rise_gives_its_name_and_the_matrix_of_its_team(
    before: tuple[Alert, ...], after: tuple[Alert, ...]
) -> None:
    routing = routed(window("db1"))
    own = Plan(steps((0, "cto")), 900.0)
    case = Case(msgspec.structs.replace(routing, team_plans={"payments": dict.fromkeys(routing.plans, own)}))
    case.when(received(*before))
    case.clock.forward(minutes=2)
    assert people(case.when(received(*after))) == ["peter"]
    assert (case.incident.title.partition(":")[0], case.incident.team) == ("B", "payments")
    assert case.incident.shown[0].fingerprint == "2"  # and is described first


def test_when_the_first_window_of_several_is_over_it_is_called_after_what_stands_in_none() -> None:
    case = Case(routed(window("db1", end=60), window("db2", end=30)))
    case.when(received(A, B))
    case.clock.forward(minutes=30)
    assert people(case.when(TimeDue())) == ["linh"]
    assert (case.incident.title.partition(":")[0], case.incident.team) == ("B", "payments")


def test_what_comes_back_to_its_owner_is_called_after_what_fires() -> None:
    case = Case(routed())
    case.when(received(A))
    case.when(Acknowledge("linh", Origin.API))
    case.when(received(msgspec.structs.replace(A, firing=False, ends_at=START + MINUTE)))
    case.clock.forward(minutes=2)
    case.when(received(msgspec.structs.replace(B, starts_at=case.clock.now)))
    assert case.state() is State.ACKNOWLEDGED
    assert (case.incident.title.partition(":")[0], case.incident.team) == ("B", "payments")


def test_a_rise_during_a_pause_starts_its_clocks_then() -> None:
    everything = Window("all", (matcher('team="backend"'),), START + 5 * MINUTE, START + 30 * MINUTE)
    case = Case(routed(everything))
    case.when(received(an_alert("a", severity="warning")))
    case.clock.forward(minutes=10)
    case.when(received(an_alert("a", severity="warning"), an_alert("b", severity="warning")))
    assert case.incident.paused is not None
    case.clock.forward(minutes=10)
    case.when(received(an_alert("c")))
    assert (case.incident.priority, case.incident.paused is not None) == (P1, True)
    case.clock.forward(minutes=10)
    assert {n.reason for n in case.when(TimeDue())} == {Reason.RESUMED}
    assert people(case.when(TimeDue())) == ["linh"]
    assert case.incident.clocks.next_due_at == START + 45 * MINUTE
