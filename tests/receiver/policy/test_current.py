"""What a reload, a calendar and a restart change of the routing that answers now."""

from datetime import timedelta

from msgspec.structs import replace

from receiver.oncall.schedule import Schedule, Span
from tests.receiver.example_site import START, the_current, the_routing

SHIFT = Span(START, START + timedelta(days=7), ("linh",))
SCHEDULES = {"engineers": Schedule("engineers", "UTC")}


def test_a_reload_keeps_the_shifts_of_calendars_and_since_when_the_process_runs() -> None:
    current = the_current(replace(the_routing(), schedules=SCHEDULES))
    current.set_calendar("engineers", (SHIFT,))
    current.restarted(START + timedelta(hours=1))
    current.exchange(replace(the_routing(), dwell=1.0, schedules={**SCHEDULES, "leads": Schedule("leads", "UTC")}))
    assert current.routing.dwell == 1.0
    assert current.routing.running_since == START + timedelta(hours=1)
    assert current.routing.schedules["engineers"].calendar == (SHIFT,)
    assert current.routing.schedules["leads"].calendar == ()


def test_an_event_that_has_begun_is_decided_by_the_configuration_of_its_beginning() -> None:
    current = the_current()
    policy = current.routing
    current.exchange(replace(the_routing(), people={}))
    current.restarted(START + timedelta(hours=1))
    assert policy.holders("on-call-engineer", START) == ("linh",)
    assert policy.running_since == START
    assert current.routing.holders("on-call-engineer", START) == ()
