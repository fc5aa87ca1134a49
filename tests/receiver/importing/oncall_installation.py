"""A made-up installation of Grafana OnCall, as its API gives it: a shop with two teams in three zones."""

from datetime import UTC, datetime
from typing import Any

from tests.receiver.importing import oncall_reference

Json = dict[str, Any]
NOW = datetime(2026, 9, 28, 10, 12, 31, tzinfo=UTC)
END = datetime(2026, 12, 30, tzinfo=UTC)

USERS: list[Json] = [
    {
        "id": "UA",
        "email": "ana@example.com",
        "username": "ana",
        "role": "admin",
        "teams": ["T1"],
        "slack": {"user_id": "U0ANA", "team_id": "T0"},
        "is_phone_number_verified": True,
        "timezone": "Europe/Paris",
    },
    {"id": "UB", "email": "ben@example.com", "username": "ben", "slack": None, "timezone": "UTC", "teams": ["T1"]},
    {"id": "UC", "email": "cem@example.com", "username": "Cem Öz", "timezone": "Europe/Paris", "teams": []},
    {"id": "UD", "email": "dan@example.com", "username": "dan", "timezone": "America/New_York", "teams": None},
    {"id": "UE", "email": None, "username": "eva", "timezone": "Mars/City", "is_phone_number_verified": False},
]


def shift(identity: str, kind: str, start: str, duration: int, **more: object) -> Json:
    frame = {"id": identity, "team_id": None, "name": f"shift {identity}", "type": kind, "time_zone": None, "level": 0}
    return {**frame, "start": start, "duration": duration, "rotation_start": start, "until": None, **more}


ROLLING: Json = {"start_rotation_from_user_index": 0, "interval": 1}
SHIFTS: list[Json] = [
    shift(
        *("O1", "rolling_users", "2026-08-31T08:00:00", 36000),
        frequency="daily",
        interval=1,
        by_day=["MO", "TU", "WE", "TH", "FR"],
        level=1,
        time_zone="Europe/Paris",
        start_rotation_from_user_index=1,
        rolling_users=[["UC"], ["UA"], ["UB"]],
    ),
    shift(
        *("O2", "rolling_users", "2026-08-31T09:00:00", 604800),
        **(ROLLING | {"frequency": "weekly", "week_start": "MO", "rolling_users": [["UA", "UB"], ["UGONE"], ["UD"]]}),
    ),
    shift(
        *("O3", "rolling_users", "2026-09-07T00:00:00", 604800),
        **(ROLLING | {"frequency": "weekly", "interval": 2, "week_start": "MO", "rolling_users": [["UC"], ["UD"]]}),
        level=2,
        time_zone="America/New_York",
    ),
    shift("O4", "override", "2026-10-24T18:00:00", 43200, users=["UD"], time_zone="Europe/Paris"),
    shift("O5", "override", "2026-10-25T00:00:00", 43200, users=["UB"], time_zone="Europe/Paris"),
    shift("O6", "single_event", "2026-10-12T10:00:00", 7200, users=["UC", "UA"], level=3),
    shift(
        *("O7", "rolling_users", "2026-09-01T20:00:00", 43200),
        **(ROLLING | {"frequency": "hourly", "interval": 12, "rolling_users": [["UA"], ["UB"], ["UC"]]}),
    ),
    shift(
        *("O8", "recurrent_event", "2026-09-02T09:00:00", 28800),
        frequency="weekly",
        interval=2,
        week_start="SU",
        by_day=["MO", "WE"],
        users=["UD"],
        level=1,
    ),
    shift(
        *("O9", "recurrent_event", "2026-01-31T09:00:00", 7200),
        frequency="monthly",
        interval=1,
        by_monthday=[-1],
        users=["UA"],
        level=5,
    ),
    shift(
        *("O10", "rolling_users", "2026-09-01T09:00:00", 172800),  # two days, every day: two are on call
        **(ROLLING | {"frequency": "daily", "rolling_users": [["UA"], ["UB"], ["UC"]]}),
    ),
    shift(
        "O11", "rolling_users", "2026-09-01T09:00:00", 3600, **(ROLLING | {"frequency": "daily", "rolling_users": []})
    ),
]
SCHEDULES: list[Json] = [
    {
        "id": "S1",
        "type": "web",
        "name": "Shop primary",
        "time_zone": "Europe/Paris",
        "shifts": ["O1", "O2", "O4", "O5"],
    },
    {
        "id": "S2",
        "type": "web",
        "name": "Shop: backup",
        "time_zone": "Europe/Paris",
        "shifts": ["O3", "O6", "O7", "O8"],
    },
    {"id": "S3", "type": "calendar", "name": "Data", "time_zone": "Europe/Paris", "shifts": ["O9", "O10", "O11", "OX"]},
    {"id": "S4", "type": "ical", "name": "From Google", "ical_url_primary": "https://calendar.example.com/x.ics"},
    {"id": "S5", "type": "web", "name": "Empty", "time_zone": "Europe/Paris", "shifts": []},
    {"id": "S6", "type": "web", "name": "Nowhere", "time_zone": "Mars/City", "shifts": ["O2"]},
]
SWAPS: list[Json] = [
    {
        "id": "SSR1",
        "schedule": "S1",
        "swap_start": "2026-12-01T00:00:00+00:00",
        "swap_end": "2026-12-08T00:00:00+00:00",
        "beneficiary": "UA",
        "benefactor": "UD",
        "status": "taken",
    },
    {
        "id": "SSR2",
        "schedule": "S1",
        "swap_start": "2026-12-10T00:00:00+00:00",
        "swap_end": "2026-12-11T00:00:00+00:00",
        "beneficiary": "UB",
        "benefactor": None,
        "status": "open",
    },
]
CHAINS = [{"id": "F1", "name": "Shop"}, {"id": "F2", "name": "Data"}, {"id": "F3", "name": "Silent"}]


def step(identity: str, chain: str, position: int, kind: str, **more: object) -> Json:
    return {"id": identity, "escalation_chain_id": chain, "position": position, "type": kind, **more}


STEPS = [
    step("E1", "F1", 0, "notify_on_call_from_schedule", notify_on_call_from_schedule="S1", important=False),
    step("E2", "F1", 1, "wait", duration=300.0),
    step("E3", "F1", 2, "notify_persons", persons_to_notify=["UB"], important=True),
    step("E4", "F1", 3, "wait", duration=900.0),
    step("E5", "F1", 4, "repeat_escalation"),
    step("E6", "F2", 0, "notify_on_call_from_schedule", notify_on_call_from_schedule="S3", important=False),
    step("E7", "F2", 1, "notify_team_members", team_to_notify="T1", important=False),
    step("E8", "F2", 2, "wait", duration=60),
    step("E9", "F2", 3, "trigger_webhook", action_to_trigger="W1"),
    step("E10", "F2", 4, "notify_person_next_each_time", persons_to_notify_next_each_time=["UD", "UGONE", "UC"]),
    step("E11", "F3", 0, "resolve"),
]
ROUTES: list[Json] = [
    {
        "id": "R1",
        "integration_id": "C1",
        "escalation_chain_id": "F2",
        "routing_type": "jinja2",
        "position": 0,
        "routing_regex": '{{ payload.commonLabels.team == "data" }}',
        "slack": {"channel_id": "C0DATA", "enabled": True},
    },
    {
        "id": "R2",
        "integration_id": "C1",
        "escalation_chain_id": "F2",
        "routing_type": "regex",
        "position": 1,
        "routing_regex": '"service": "warehouse"',
    },
    {
        "id": "R3",
        "integration_id": "C1",
        "escalation_chain_id": "F2",
        "routing_type": "regex",
        "position": 2,
        "routing_regex": ".*(us-(east|west)).*",
    },
    {"id": "R4", "integration_id": "C1", "escalation_chain_id": "F1", "is_the_last_route": True, "position": 3},
]
INTEGRATIONS: list[Json] = [
    {
        "id": "C1",
        "name": "Prometheus",
        "type": "alertmanager",
        "maintenance_mode": None,
        "default_route": {"id": "R4", "escalation_chain_id": "F1", "slack": {"channel_id": "C0SHOP", "enabled": True}},
        "heartbeat": {"link": "https://oncall.example.com/heartbeat"},
    },
    {"id": "C2", "name": "Sentry", "type": "sentry", "maintenance_mode": "maintenance", "default_route": {}},
]
RULES: list[Json] = [
    {"id": "N1", "user_id": "UA", "position": 0, "type": "notify_by_slack", "important": False},
    {"id": "N2", "user_id": "UA", "position": 1, "type": "wait", "duration": 300, "important": False},
    {"id": "N3", "user_id": "UA", "position": 2, "type": "notify_by_phone_call", "important": False},
    {"id": "N4", "user_id": "UA", "position": 0, "type": "notify_by_phone_call", "important": True},
    {"id": "N5", "user_id": "UE", "position": 0, "type": "notify_by_email", "important": False},
]


def lists() -> dict[str, list[Json]]:
    return {
        "users": USERS,
        "schedules": SCHEDULES,
        "on_call_shifts": SHIFTS,
        "shift_swaps": SWAPS,
        "escalation_chains": CHAINS,
        "escalation_policies": STEPS,
        "routes": ROUTES,
        "integrations": INTEGRATIONS,
        "personal_notification_rules": RULES,
        "teams": [{"id": "T1", "name": "Shop"}],
    }


def finals() -> dict[str, list[Json]]:
    """What OnCall's own code gives for these schedules."""
    known, by_id = {user["id"] for user in USERS}, {one["id"]: one for one in SHIFTS}
    answers = {}
    for schedule in SCHEDULES[:3]:
        web = schedule["type"] == "web"
        zone = "UTC" if web else schedule["time_zone"]
        shifts = [(by_id[one], by_id[one]["time_zone"] or zone) for one in schedule["shifts"] if one in by_id]
        swaps = [swap for swap in SWAPS if swap["schedule"] == schedule["id"]]
        begin = datetime(2026, 9, 28, tzinfo=UTC)
        answers[schedule["id"]] = oncall_reference.final(shifts, swaps, known, begin, END, web=web)
    return answers
