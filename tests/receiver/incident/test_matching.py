"""Which incident an alert belongs to: the open one, the one that owns it, the one that it reopens, or a new one."""

from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from receiver.incident.alerts import ALERTS
from receiver.incident.event import AlertsReceived
from receiver.incident.machine import transition
from receiver.incident.matching import choose
from receiver.incident.model import Alert, AlertGroup, Ending, Incident, State
from tests.receiver.example_site import MINUTE, START, an_alert, the_policy, the_routing

NOW = START + 60 * MINUTE


class Memory:
    """Incidents by number; ``asked`` counts look-ups of owners."""

    def __init__(self, *incidents: Incident, owned: dict[int, int] | None = None) -> None:
        self._incidents = {incident.id: incident for incident in incidents}
        self._owned, self.asked = owned or {}, list[tuple[str, tuple[str, ...]]]()

    def newest(self, key: str) -> Incident | None:
        return next((one for one in reversed(self._incidents.values()) if one.key == key), None)

    def owners(self, receiver: str, fingerprints: tuple[str, ...]) -> dict[int, int]:
        self.asked.append((receiver, fingerprints))
        return self._owned

    def incident(self, number: int) -> Incident | None:
        return self._incidents.get(number)

    def next_number(self) -> int:
        return max(self._incidents, default=0) + 1


def news(*alerts: Alert, confirmed: bool = False) -> AlertsReceived:
    return AlertsReceived(AlertGroup("k", alerts, receiver="r"), confirmed=confirmed)


def over(ago: timedelta, by: str = ALERTS) -> Incident:
    alert = an_alert(firing=by != ALERTS)  # what a person has resolved may fire on
    closed = Incident(7, "k", State.RESOLVED, alerts={"a": alert}, resolved_at=NOW - ago, resolved_by=by)
    if by != ALERTS:
        return replace(closed, ended={"a": START})
    return replace(closed, echoes={"a": Ending(START, NOW - ago)})


def fired(**changes: object) -> AlertsReceived:
    return news(msgspec.structs.replace(an_alert(starts_at=NOW), **changes))


def test_the_open_incident_of_the_group_is_it_and_nobody_else_is_asked() -> None:
    for state in (State.TRIGGERED, State.ACKNOWLEDGED):
        last = Incident(7, "k", state)
        known = Memory(last, Incident(8, "other", State.TRIGGERED), owned={8: 1})
        assert choose(fired(), known, the_policy(), NOW) is last
        assert known.asked == []


@pytest.mark.parametrize(("owned", "number"), [({1: 2, 2: 1}, 1), ({2: 2, 1: 2}, 1), ({1: 1, 2: 2}, 2), ({1: 1}, 9)])
def test_the_open_one_that_owns_most_and_at_least_half_of_what_fires(owned: dict[int, int], number: int) -> None:
    mine, other = (Incident(n, "another", State.TRIGGERED) for n in (1, 2))
    known = Memory(mine, other, Incident(8, "older", State.RESOLVED), owned=owned)
    event = news(*(an_alert(name) for name in "abcd"), an_alert("e", firing=False))
    assert choose(event, known, the_policy(), NOW).id == number
    assert known.asked == [("r", ("a", "b", "c", "d"))]


def test_nobody_owns_what_does_not_fire() -> None:
    known = Memory(Incident(1, "another", State.TRIGGERED), owned={1: 1})
    assert choose(news(an_alert(firing=False)), known, the_policy(), NOW).state is State.NEW
    assert known.asked == []


@pytest.mark.parametrize(("minutes", "number"), [(9, 7), (10, 7), (10.1, 8)])
def test_the_last_one_if_it_fires_again_within_the_window(minutes: float, number: int) -> None:
    assert choose(fired(), Memory(over(minutes * MINUTE)), the_policy(), NOW).id == number


def test_the_window_is_the_policys() -> None:
    policy = the_policy(replace(the_routing(), flap_window=3 * 3600.0))
    assert choose(fired(), Memory(over(170 * MINUTE)), policy, NOW).id == 7


def test_a_new_one_remembers_what_is_over_for_a_month() -> None:
    last = replace(over(2 * 60 * MINUTE), ended={"a": START, "old": NOW - timedelta(days=30)})
    chosen = choose(fired(), Memory(last), the_policy(), NOW)
    assert (chosen.id, chosen.key, chosen.state, chosen.ended) == (8, "k", State.NEW, {"a": START})


def test_an_episode_that_is_over_reopens_nothing_unless_the_api_confirms_it() -> None:
    known = Memory(over(MINUTE))
    chosen = choose(news(an_alert()), known, the_policy(), NOW)
    assert transition(chosen, news(an_alert()), the_policy(), NOW).incident.state is State.RESOLVED
    assert choose(news(an_alert(), confirmed=True), known, the_policy(), NOW).id == 7


def test_what_a_person_has_resolved_and_fires_on_reopens_nothing() -> None:
    known = Memory(over(MINUTE, by="linh"))
    for confirmed in (False, True):
        assert choose(news(an_alert(), confirmed=confirmed), known, the_policy(), NOW).state is State.NEW
    assert choose(fired(), known, the_policy(), NOW).id == 7
