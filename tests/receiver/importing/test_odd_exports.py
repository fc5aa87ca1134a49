"""Exports with values that no tool should hold: what cannot be meant is left out by name, and spoils nothing else."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.importing import proof
from receiver.importing.document import document
from receiver.importing.draft import Draft, Grade, ImportFailedError, Keys
from receiver.importing.sources import SOURCES
from receiver.policy.routing import Routing
from tests.receiver.importing import oncall_installation, test_goalert, test_opsgenie, test_pagerduty

Json = dict[str, Any]
NOW = datetime(2026, 10, 1, tzinfo=UTC)
ANSWERS: dict[str, Json] = {
    "oncall": oncall_installation.lists(),
    "opsgenie": {
        "users": test_opsgenie.USERS,
        "schedules": test_opsgenie.SCHEDULES,
        "overrides": {"s1": test_opsgenie.OVERRIDES},
        "forwarding_rules": test_opsgenie.FORWARDING,
        "escalations": test_opsgenie.ESCALATIONS,
        "teams": [{"id": "t1", "name": "Ops"}],
        "members": {"t1": {"members": [{"user": test_opsgenie.ANA}]}},
        "routing_rules": {"t1": test_opsgenie.ROUTING},
        "contacts": {"u1": [{"method": "email", "to": "ana@home.example.com"}]},
        "notification_rules": {"u1": [{"id": "n1", "actionType": "create-alert"}]},
        "notification_steps": {"n1": [{"contact": {"method": "email"}}]},
    },
    "pagerduty": test_pagerduty.lists() | {"overrides": test_pagerduty.OVERRIDES},
    "goalert": {
        "users": test_goalert.USERS,
        "rotations": test_goalert.ROTATIONS,
        "schedules": test_goalert.SCHEDULES,
        "escalationPolicies": test_goalert.POLICIES,
        "services": test_goalert.SERVICES,
        "userOverrides": test_goalert.OVERRIDES,
    },
}


def changed(source: str, path: str, value: object) -> Json:
    """Give the answers of a source with another value at `users.0.name`."""
    answers = copy.deepcopy(ANSWERS[source])
    *parents, last = (int(key) if key.isdecimal() else key for key in path.split("."))
    at: Any = answers
    for key in parents:
        at = at[key]
    at[last] = value
    return answers


def imported(source: str, answers: Json, folder: Path) -> tuple[Draft, Routing]:
    draft = SOURCES[source].draft(answers, NOW)
    path = folder / "receiver.yml"
    path.write_text(document(draft), "utf-8")
    return draft, build_routing(*load(path))


def said(draft: Draft, text: str) -> list[str]:
    return [line.subject for line in draft.report if text in line.why and line.grade is not Grade.EXACT]


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("oncall", "on_call_shifts.0.start"),
        ("oncall", "on_call_shifts.1.until"),
        ("oncall", "on_call_shifts.1.rotation_start"),
        ("oncall", "shift_swaps.0.swap_end"),
        ("opsgenie", "schedules.0.rotations.2.endDate"),
        ("opsgenie", "schedules.0.rotations.2.startDate"),
        ("opsgenie", "forwarding_rules.0.endDate"),
        ("opsgenie", "overrides.s1.0.endDate"),
        ("pagerduty", "schedules.0.schedule_layers.0.end"),
        ("pagerduty", "schedules.0.schedule_layers.0.rotation_virtual_start"),
        ("pagerduty", "maintenance_windows.0.end_time"),
        ("pagerduty", "overrides.S1.0.start"),
        ("goalert", "rotations.0.start"),
        ("goalert", "schedules.0.temporarySchedules.0.end"),
        ("goalert", "userOverrides.0.start"),
        ("goalert", "services.0.maintenanceExpiresAt"),
    ],
)
def test_a_time_with_a_zone_where_none_is_and_the_reverse_is_named(source: str, path: str) -> None:
    local = source == "oncall" and "on_call_shifts" in path
    answers = changed(source, path, "2026-10-26T00:00:00Z" if local else "2026-10-26T00:00:00")
    with pytest.raises(ImportFailedError, match="timezone component"):
        SOURCES[source].draft(answers, NOW)


@pytest.mark.parametrize(
    ("source", "path", "value"),
    [
        ("oncall", "shift_swaps.0.swap_end", "2026-11-01T00:00:00Z"),
        ("oncall", "on_call_shifts.3.duration", -60),
        ("opsgenie", "overrides.s1.0.endDate", "2026-12-24T08:00:00Z"),
        ("opsgenie", "forwarding_rules.0.endDate", "2026-10-20T07:00:00Z"),
        ("pagerduty", "overrides.S1.0.end", "2026-12-24T08:00:00.400Z"),
        ("pagerduty", "maintenance_windows.0.end_time", "2026-10-31T00:00:00Z"),
        ("goalert", "schedules.0.temporarySchedules.0.end", "2026-12-24T00:00:00.400Z"),
        ("goalert", "userOverrides.0.end", "2026-11-09T00:00:00Z"),
    ],
)
def test_a_time_that_ends_before_it_begins_is_left_out(source: str, path: str, value: object, tmp_path: Path) -> None:
    draft, _ = imported(source, changed(source, path, value), tmp_path)
    assert any("ends before it begins" in line.why for line in draft.report)


@pytest.mark.parametrize(
    ("source", "path", "start", "end"),
    [
        ("oncall", "shift_swaps.0", "swap_start", "swap_end"),
        ("opsgenie", "overrides.s1.1", "startDate", "endDate"),
        ("opsgenie", "forwarding_rules.0", "startDate", "endDate"),
        ("pagerduty", "overrides.S1.0", "start", "end"),
        ("goalert", "schedules.0.temporarySchedules.0", "start", "end"),
        ("goalert", "userOverrides.0", "start", "end"),
    ],
)
def test_the_hour_that_occurs_twice_is_told_apart(source: str, path: str, start: str, end: str, tmp_path: Path) -> None:
    begins, ends = datetime(2026, 10, 25, 0, 45, tzinfo=UTC), datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    answers = changed(source, f"{path}.{start}", begins.isoformat())
    at: Any = answers
    for key in path.split("."):
        at = at[int(key) if key.isdecimal() else key]
    at[end] = ends.isoformat()
    _, routing = imported(source, answers, tmp_path)
    (schedule, *_) = routing.schedules.values()
    spans: list[Any] = [*schedule.overrides, *schedule.amendments, *(s for v in schedule.stand_ins.values() for s in v)]
    assert (begins, ends) in [(one.start, one.end) for one in spans]


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("opsgenie", "overrides.s1.1.endDate"),
        ("pagerduty", "overrides.S1.0.end"),
        ("pagerduty", "maintenance_windows.0.end_time"),
        ("goalert", "userOverrides.0.end"),
        ("oncall", "shift_swaps.0.swap_end"),
    ],
)
def test_what_never_ends_is_kept(source: str, path: str, tmp_path: Path) -> None:
    imported(source, changed(source, path, "9999-12-31T23:59:59Z"), tmp_path)


@pytest.mark.parametrize(
    ("source", "path", "value"),
    [
        ("oncall", "users.1.email", "ben"),
        ("oncall", "users.0.slack.user_id", "two words"),
        ("oncall", "integrations.0.default_route.slack.channel_id", "\x1b[31m"),
        ("opsgenie", "contacts.u1.0.to", "ana@"),
        ("pagerduty", "users.1.email", "ben@ex ample.com"),
        ("pagerduty", "users.0.contact_methods.0.address", "a@b@c"),
        ("goalert", "users.1.email", "ben@example.com>"),
        ("goalert", "users.0.contactMethods.2.dest.args.slack_user_id", "#a,b"),
        ("goalert", "escalationPolicies.0.steps.0.actions.1.args.slack_channel_id", "x" * 300),
    ],
)
def test_an_address_that_is_none_is_left_out_and_named(source: str, path: str, value: str, tmp_path: Path) -> None:
    draft, _ = imported(source, changed(source, path, value), tmp_path)
    assert said(draft, "not an address")


def test_a_rule_without_an_address_is_left_out(tmp_path: Path) -> None:
    answers = changed("pagerduty", "users.0.contact_methods", [])
    answers["users"][0]["email"] = "nobody"
    draft, _ = imported("pagerduty", answers, tmp_path)
    assert all("email" not in rule.channels for rule in draft.people["ana"].rules)


@pytest.mark.parametrize(
    ("source", "path"),
    [("oncall", "users.0.username"), ("pagerduty", "users.0.name"), ("goalert", "users.0.name")],
)
@pytest.mark.parametrize(
    "name", ["Alerts", "default", "漢字", "x" * 5000, "a\nb: {c}", "\x00\x1b[31m", "- &a *b !c", ""]
)
def test_any_name_makes_a_usable_file(source: str, path: str, name: str, tmp_path: Path) -> None:
    draft, routing = imported(source, changed(source, path, name), tmp_path)
    assert len(routing.directory.keys_by_name()) <= len(draft.people)
    assert all(len(person.name) <= 200 for person in draft.people.values())


def test_ten_thousand_people_of_one_name_have_keys_of_their_own() -> None:
    keys = Keys()
    given = {keys.give("user", str(n), "漢字 a") for n in range(10_000)}
    assert len(given) == 10_000
    assert keys.give("user", "again", "a-2") not in given


QUOTES = ["Küche", 'a"b', "a\\b", "a\\", "new\nline", "a.b*[c]", "漢字", "\u2028"]


@pytest.mark.parametrize("value", QUOTES)
def test_a_label_of_any_value_finds_its_team(value: str, tmp_path: Path) -> None:
    at = datetime(2026, 11, 1, 1, tzinfo=UTC)
    _, goalert = imported("goalert", changed("goalert", "services.0.name", value), tmp_path)
    assert goalert.team({"service": value})[0] == "shop-2"
    assert goalert.maintenance({"service": value}, datetime(2026, 10, 1, 1, tzinfo=UTC)) is not None
    answers = changed("pagerduty", "services.0.name", value)
    answers["maintenance_windows"][0]["services"][0]["summary"] = value
    _, pagerduty = imported("pagerduty", answers, tmp_path)
    assert pagerduty.team({"service": value})[0] == "shop"
    assert pagerduty.maintenance({"service": value}, at) is not None
    conditions = [{"field": "extra-properties", "key": "site", "operation": "equals", "expectedValue": value}]
    _, opsgenie = imported(
        "opsgenie", changed("opsgenie", "routing_rules.t1.0.criteria.conditions", conditions), tmp_path
    )
    assert opsgenie.team({"site": value})[0] == "ops-schedule"
    if '"' not in value:
        jinja = '{{ payload.commonLabels.site == "' + value + '" }}'
        _, oncall = imported("oncall", changed("oncall", "routes.0.routing_regex", jinja), tmp_path)
        assert oncall.team({"site": value})[0] == "data-2"


@pytest.mark.parametrize("key", ["größe", "1st", "", "a-b", "a b"])
def test_a_property_that_cannot_be_a_label_is_not_mapped(key: str, tmp_path: Path) -> None:
    conditions = [{"field": "extra-properties", "key": key, "operation": "equals", "expectedValue": "x"}]
    answers = changed("opsgenie", "routing_rules.t1.0.criteria.conditions", conditions)
    draft, _ = imported("opsgenie", answers, tmp_path)
    assert said(draft, "no label test")


@pytest.mark.parametrize(
    ("source", "path", "value"),
    [
        ("pagerduty", "schedules.0.schedule_layers.0.restrictions.0.duration_seconds", 0),
        ("pagerduty", "schedules.0.schedule_layers.0.restrictions.0.duration_seconds", -3600),
        ("pagerduty", "schedules.0.schedule_layers.0.restrictions.0.start_time_of_day", "99:00:00"),
        ("opsgenie", "schedules.0.rotations.1.timeRestriction.restriction.startHour", 99),
        ("opsgenie", "schedules.0.rotations.1.timeRestriction.restriction.endMin", -5),
        ("opsgenie", "schedules.0.rotations.2.timeRestriction.restrictions.0.startDay", "freitag"),
        ("opsgenie", "schedules.0.rotations.2.timeRestriction.restrictions.0.endDay", "freitag"),
        ("opsgenie", "schedules.0.rotations.2.timeRestriction.type", "moon-phase"),
        ("goalert", "schedules.0.targets.0.rules.0.start", "24:30"),
    ],
)
def test_a_restriction_that_cannot_be_read_is_never_all_day(source: str, path: str, value: object) -> None:
    with pytest.raises(ImportFailedError, match="cannot be read"):
        SOURCES[source].draft(changed(source, path, value), NOW)


@pytest.mark.parametrize(
    ("source", "path", "value"),
    [
        ("oncall", "on_call_shifts.0.duration", 30),
        ("oncall", "on_call_shifts.1.duration", 0),
        ("oncall", "on_call_shifts.0.interval", -1),
        ("opsgenie", "schedules.0.rotations.0.type", "yearly"),
        ("pagerduty", "schedules.0.schedule_layers.0.rotation_turn_length_seconds", 0),
        ("goalert", "rotations.0.type", "yearly"),
    ],
)
def test_a_turn_that_cannot_be_is_not_mapped(source: str, path: str, value: object, tmp_path: Path) -> None:
    before, _ = imported(source, ANSWERS[source], tmp_path)
    draft, _ = imported(source, changed(source, path, value), tmp_path)
    grades = [sum(line.grade is Grade.NOT_MAPPED for line in one.report) for one in (before, draft)]
    assert grades[0] < grades[1]


def test_restrictions_that_are_a_second_short_of_the_minute_are_rounded(tmp_path: Path) -> None:
    at = "schedules.0.schedule_layers.0.restrictions"
    night = {"type": "daily_restriction", "start_time_of_day": "22:00:00", "duration_seconds": 8 * 3600 - 1}
    draft, _ = imported("pagerduty", changed("pagerduty", at, [night]), tmp_path)
    layers = {layer.name: layer for layer in draft.schedules["primary"].layers}
    assert (layers["weekend"].windows[0].start, layers["weekend"].windows[0].end) == ("mon 22:00", "tue 06:00")
    assert said(draft, "full minute")
    whole = {**night, "duration_seconds": 86399}
    draft, _ = imported("pagerduty", changed("pagerduty", at, [whole]), tmp_path)
    assert not {layer.name: layer for layer in draft.schedules["primary"].layers}["weekend"].windows
    draft, _ = imported("oncall", changed("oncall", "on_call_shifts.0.duration", 35999), tmp_path)
    assert draft.schedules["shop-primary"].layers[0].windows[0].end == "mon 18:00"
    assert said(draft, "full minute")


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("oncall", "escalation_policies.1.duration"),
        ("opsgenie", "escalations.0.rules.1.delay.timeAmount"),
        ("pagerduty", "escalation_policies.0.escalation_rules.0.escalation_delay_in_minutes"),
        ("goalert", "escalationPolicies.0.steps.0.delayMinutes"),
    ],
)
@pytest.mark.parametrize("value", [0, -7])
def test_rows_without_a_delay_between_them_are_one(source: str, path: str, value: int, tmp_path: Path) -> None:
    imported(source, changed(source, path, value), tmp_path)


def test_a_contact_method_that_is_switched_off_is_not_used(tmp_path: Path) -> None:
    answers = changed("goalert", "users.0.contactMethods.0.disabled", True)  # noqa: FBT003  # the value
    draft, _ = imported("goalert", answers, tmp_path)
    assert draft.people["ana"].email == "ana@example.com"


Named = Callable[[Json], list[str]]


@pytest.mark.parametrize(
    ("source", "add", "kind"),
    [
        ("oncall", ("on_call_shifts", {**oncall_installation.SHIFTS[0], "id": "OZ", "name": "lonely"}), "shift"),
        ("oncall", ("shift_swaps", {**oncall_installation.SWAPS[0], "id": "SZ", "schedule": "GONE"}), "shift swap"),
        ("goalert", ("rotations", {**test_goalert.ROTATIONS[0], "id": "rz", "name": "lonely"}), "rotation"),
        ("goalert", ("userOverrides", {**test_goalert.OVERRIDES[0], "id": "oz", "target": {"id": "s3"}}), "override"),
    ],
)
def test_what_nothing_names_has_a_line_of_its_own(source: str, add: tuple[str, Json], kind: str) -> None:
    name, one = add
    answers = ANSWERS[source] | {name: [*ANSWERS[source][name], one]}
    draft = SOURCES[source].draft(answers, NOW)
    shown = {"lonely", one["id"]}
    assert [line for line in draft.report if line.kind == kind and any(part in line.name for part in shown)]


@pytest.mark.parametrize(("source", "schedule"), [("opsgenie", "s4"), ("pagerduty", "S3")])
def test_overrides_of_a_schedule_that_is_not_imported_have_lines(source: str, schedule: str) -> None:
    (first, *_) = next(iter(ANSWERS[source]["overrides"].values()))
    answers = ANSWERS[source] | {"overrides": {schedule: [first]}}
    draft = SOURCES[source].draft(answers, NOW)
    assert [line for line in draft.report if line.kind == "override" and line.grade is Grade.NOT_MAPPED]


def test_a_rendering_of_the_wrong_zone_is_found(tmp_path: Path) -> None:
    """The proof is one of this room: an import whose source shows another zone is a difference."""
    answers = changed("pagerduty", "schedules.0.time_zone", "Europe/Berlin")
    begin, end = NOW, datetime(2026, 11, 1, tzinfo=UTC)
    answers["rendered"] = {"S1": []}
    draft, routing = imported("pagerduty", answers, tmp_path)
    assert proof.differences(routing.schedules, draft.rendered, begin, end)
    assert yaml.safe_load(document(draft))["schedules"]["primary"]["time_zone"] == "Europe/Berlin"


def test_a_calendar_of_overrides_stands_above_the_layers_of_oncall(tmp_path: Path) -> None:
    url = "https://calendar.example.com/overrides-8f2c.ics"
    draft, _ = imported("oncall", changed("oncall", "schedules.0.ical_url_overrides", url), tmp_path)
    assert draft.schedules["shop-primary"].calendar == "shop-primary-calendar"
    assert draft.schedules["shop-primary"].layers
    assert url not in document(draft)
    assert said(draft, "to fill")


def test_rules_of_opsgenie_keep_their_hours_and_priorities(tmp_path: Path) -> None:
    night = {"startHour": 22, "startMin": 0, "endHour": 6, "endMin": 30}
    rule = {
        "id": "n1",
        "actionType": "create-alert",
        "timeRestriction": {"type": "time-of-day", "restriction": night},
        "criteria": {
            "type": "match-any-condition",
            "conditions": [
                {"field": "priority", "operation": "equals", "expectedValue": "P1"},
                {"field": "priority", "operation": "equals", "expectedValue": "P2"},
            ],
        },
    }
    answers = changed("opsgenie", "notification_rules.u1.0", rule)
    answers["notification_rules"]["u1"].append({"id": "n2", "actionType": "closed-alert", "name": "Closed"})
    draft, _ = imported("opsgenie", answers, tmp_path)
    (mapped,) = draft.people["ana"].rules
    assert (mapped.hours, mapped.priorities, mapped.channels) == ("22:00-06:30", ("P1", "P2"), ("email",))
    assert said(draft, "only rules on new alerts")


@pytest.mark.parametrize(
    "rule",
    [
        {"criteria": {"type": "match-all-conditions", "conditions": [{"field": "tags", "operation": "contains"}]}},
        {
            "timeRestriction": {
                "type": "weekday-and-time-of-day",
                "restrictions": [test_opsgenie.WEEKEND["restrictions"][0]],
            }
        },
    ],
)
def test_rules_of_opsgenie_that_are_narrower_than_ours_say_so(rule: Json, tmp_path: Path) -> None:
    whole = {"id": "n1", "actionType": "create-alert", **rule}
    draft, _ = imported("opsgenie", changed("opsgenie", "notification_rules.u1.0", whole), tmp_path)
    assert said(draft, "at all")


def test_rotations_of_one_name_and_overrides_by_id_are_told_apart(tmp_path: Path) -> None:
    answers = changed("opsgenie", "schedules.0.rotations.1.name", "week")
    answers["overrides"]["s1"][0]["rotations"] = [{"id": "r2"}]
    draft, _ = imported("opsgenie", answers, tmp_path)
    names = [layer.name for layer in draft.schedules["ops-schedule"].layers]
    assert len(set(names)) == len(names)
    assert draft.schedules["ops-schedule"].overrides[0].layers == (names[1],)


def test_any_of_several_conditions_is_one_rule_for_each(tmp_path: Path) -> None:
    criteria = {
        "type": "match-any-condition",
        "conditions": [
            {"field": "priority", "operation": "equals", "expectedValue": "P1"},
            {"field": "extra-properties", "key": "site", "operation": "matches", "expectedValue": "b.*n"},
        ],
    }
    _, routing = imported("opsgenie", changed("opsgenie", "routing_rules.t1.0.criteria", criteria), tmp_path)
    for labels in ({"priority": "P1"}, {"site": "berlin"}):
        assert routing.team(labels)[0] == "ops-schedule"
    assert routing.team({"site": "paris"})[0] != "ops-schedule"


def test_an_expression_that_is_none_is_not_mapped(tmp_path: Path) -> None:
    condition = {"field": "extra-properties", "key": "site", "operation": "matches", "expectedValue": "(?<=a)b("}
    answers = changed("opsgenie", "routing_rules.t1.0.criteria.conditions", [condition])
    draft, _ = imported("opsgenie", answers, tmp_path)
    assert said(draft, "no label test")


def test_an_escalation_in_a_rotation_is_those_whom_it_names(tmp_path: Path) -> None:
    participant = {"type": "escalation", "id": "e1", "name": "Ops_escalation"}
    answers = changed("opsgenie", "schedules.0.rotations.0.participants", [participant, test_opsgenie.BEN])
    draft, _ = imported("opsgenie", answers, tmp_path)
    assert draft.schedules["ops-schedule"].layers[0].people == (("eva", "ana"), "ben")
    assert said(draft, "the people whom")


def test_who_stands_for_a_team_is_taken_from_the_rendering(tmp_path: Path) -> None:
    period = {
        "startDate": "2026-10-05T00:00:00Z",
        "endDate": "2026-10-06T00:00:00Z",
        "recipient": {"type": "escalation", "id": "e1"},
        "flattenedRecipients": [test_opsgenie.EVA, test_opsgenie.GONE],
    }
    answers = ANSWERS["opsgenie"] | {"timelines": {"s1": {"finalTimeline": {"rotations": [{"periods": [period]}]}}}}
    draft, _ = imported("opsgenie", answers, tmp_path)
    assert [one.person for one in draft.rendered["ops-schedule"]] == ["eva", "<gone@example.com>"]
