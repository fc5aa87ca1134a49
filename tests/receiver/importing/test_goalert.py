"""From a stand-in of GoAlert to receiver.yml: who is on call by GoAlert's own definition and by ours."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.importing import proof
from receiver.importing.document import document
from receiver.importing.goalert_api import QUERY
from receiver.importing.sources import SOURCES
from tests.examples import EXAMPLES
from tests.fakes.goalert_api import TOKEN, FakeGoAlert
from tests.receiver.importing import goalert_reference
from tests.receiver.importing.command import Importing

Json = dict[str, Any]
NOW = datetime(2026, 10, 1, 0, 0, 30, tzinfo=UTC)
END = datetime(2026, 12, 31, tzinfo=UTC)
WEEKDAYS = [False, True, True, True, True, True, False]
ALL = [True] * 7
ALWAYS: Json = {"start": "00:00", "end": "00:00", "weekdayFilter": ALL}
OFFICE: Json = {"start": "09:00", "end": "17:00", "weekdayFilter": ALL}
HOOK: Json = {"id": "y", "actions": [{"type": "builtin-webhook", "args": {}}]}
EMAIL = {"id": "m1", "dest": {"type": "builtin-smtp-email", "args": {"email_address": "ana@home.example.com"}}}
VOICE = {"id": "m2", "dest": {"type": "builtin-twilio-voice", "args": {"phone_number": "+4930123"}}}
SLACK = {"id": "m3", "dest": {"type": "builtin-slack-dm", "args": {"slack_user_id": "U0ANA"}}}
USERS: list[Json] = [
    {
        "id": "A",
        "name": "Ana",
        "email": "ana@example.com",
        "contactMethods": [
            EMAIL | {"dest": {"type": "x", "args": {"email_address": "ana@home.example.com"}}},
            VOICE,
            SLACK,
        ],
        "notificationRules": [
            {"id": "n1", "delayMinutes": 0, "contactMethodID": "m3"},
            {"id": "n2", "delayMinutes": 5, "contactMethodID": "m2"},
            {"id": "n3", "delayMinutes": 9, "contactMethodID": "gone"},
        ],
    },
    *(
        {"id": one, "name": name, "email": f"{name}@example.com"}
        for one, name in (("B", "Ben"), ("C", "Cem"), ("D", "Dan"))
    ),
]
ROTATIONS: list[Json] = [
    {
        "id": "r1",
        "name": "Days",
        "type": "daily",
        "shiftLength": 1,
        "start": "2026-09-01T13:00:00Z",
        "timeZone": "America/New_York",
        "userIDs": ["A", "B", "C"],
        "activeUserIndex": 2,
    },
    {
        "id": "r2",
        "name": "Months",
        "type": "monthly",
        "shiftLength": 1,
        "start": "2026-01-31T09:00:00Z",
        "timeZone": "Europe/London",
        "userIDs": ["B", "GONE"],
        "activeUserIndex": 0,
    },
    {
        "id": "r3",
        "name": "Hours",
        "type": "hourly",
        "shiftLength": 12,
        "start": "2026-09-01T06:00:00Z",
        "timeZone": "Europe/London",
        "userIDs": ["C", "D"],
        "activeUserIndex": 1,
    },
]
SCHEDULES: list[Json] = [
    {
        "id": "s1",
        "name": "Shop",
        "timeZone": "Europe/London",
        "targets": [
            {
                "target": {"id": "r1", "type": "rotation", "name": "Days"},
                "rules": [{"start": "08:00", "end": "20:00", "weekdayFilter": WEEKDAYS}],
            },
            {
                "target": {"id": "D", "type": "user", "name": "Dan"},
                "rules": [
                    {"start": "22:00", "end": "06:00", "weekdayFilter": ALL},
                    {
                        "start": "12:00",
                        "end": "12:00",
                        "weekdayFilter": [True, False, False, False, False, False, True],
                    },
                ],
            },
        ],
        "temporarySchedules": [
            {
                "start": "2026-12-24T00:00:00Z",
                "end": "2026-12-26T00:00:00Z",
                "shifts": [{"userID": "C", "start": "2026-12-24T00:00:00Z", "end": "2026-12-25T12:00:00Z"}],
            }
        ],
    },
    {
        "id": "s2",
        "name": "Data",
        "timeZone": "Europe/London",
        "temporarySchedules": [],
        "targets": [
            {
                "target": {"id": "r2", "type": "rotation"},
                "rules": [ALWAYS],
            },
            {
                "target": {"id": "r3", "type": "rotation"},
                "rules": [OFFICE],
            },
            {
                "target": {"id": "A", "type": "user"},
                "rules": [OFFICE | {"weekdayFilter": [False] * 7}],
            },
        ],
    },
    {"id": "s3", "name": "Nowhere", "timeZone": "Mars/City", "targets": [], "temporarySchedules": []},
]


def override(identity: str, start: str, end: str, add: str = "", remove: str = "") -> Json:
    target = {"id": "s1", "type": "schedule"}
    return {"id": identity, "start": start, "end": end, "addUserID": add, "removeUserID": remove, "target": target}


OVERRIDES: list[Json] = [
    override("o1", "2026-11-09T00:00:00Z", "2026-11-20T00:00:00Z", remove="A"),
    override("o2", "2026-11-12T00:00:00Z", "2026-11-14T00:00:00Z", remove="B", add="A"),
    override("o3", "2026-12-23T00:00:00Z", "2026-12-28T00:00:00Z", add="B"),
    override("o4", "2026-10-20T00:00:00Z", "2026-10-21T00:00:00Z", remove="A", add="GONE"),
]
POLICIES: list[Json] = [
    {
        "id": "p1",
        "name": "Shop",
        "repeat": 2,
        "steps": [
            {
                "id": "x1",
                "delayMinutes": 10,
                "actions": [
                    {"type": "builtin-schedule", "args": {"schedule_id": "s1"}},
                    {"type": "builtin-slack-channel", "args": {"slack_channel_id": "C0SHOP"}},
                ],
            },
            {
                "id": "x2",
                "delayMinutes": 20,
                "actions": [
                    {"type": "builtin-user", "args": {"user_id": "B"}},
                    {"type": "builtin-rotation", "args": {"rotation_id": "r1"}},
                ],
            },
        ],
    },
    {
        "id": "p2",
        "name": "Hook",
        "repeat": 0,
        "steps": [HOOK],
    },
]
SERVICES: list[Json] = [
    {
        "id": "v1",
        "name": "checkout",
        "escalationPolicyID": "p1",
        "maintenanceExpiresAt": "2026-10-01T02:00:00Z",
        "heartbeatMonitors": [{"id": "h", "name": "nightly"}],
    },
    {"id": "v2", "name": "lost", "escalationPolicyID": "p2", "heartbeatMonitors": []},
]
KNOWN = {"A", "B", "C", "D"}


def lists() -> dict[str, list[Json]]:
    usable = [one for one in OVERRIDES if one["addUserID"] != "GONE"]
    schedules = []
    for one in SCHEDULES:
        known = one["timeZone"] != "Mars/City"
        found = goalert_reference.shifts(one, ROTATIONS, usable, KNOWN, NOW, END) if known else []
        schedules.append({**one, "shifts": [s for s in found if s["start"] < "2026-11"], "later": []})
        schedules[-1]["later"] = [s for s in found if s not in schedules[-1]["shifts"]]
    return {
        "users": USERS,
        "rotations": ROTATIONS,
        "schedules": schedules,
        "escalationPolicies": POLICIES,
        "services": SERVICES,
        "userOverrides": OVERRIDES,
    }


@pytest.fixture
async def server() -> AsyncIterator[FakeGoAlert]:
    goalert = FakeGoAlert(lists())
    await goalert.start()
    yield goalert
    await goalert.stop()


@pytest.fixture
def importing(server: FakeGoAlert, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Importing:
    return Importing("goalert", server, TOKEN, NOW, tmp_path, capsys)


async def test_an_installation_is_imported_and_agrees_at_every_hour(importing: Importing) -> None:
    done = await importing.run("--verify", "--save", str(importing.folder / "saved"))
    assert done.code == 2, done.out + done.err  # some lines are not exact
    assert "2 of 3 schedules" in done.out  # the third is a rotation that a policy names itself
    assert "the time lines of 1 escalations" in done.out
    assert done.out.strip().splitlines()[-1].endswith(" 0 of them unexplained"), done.out
    made = yaml.safe_load(importing.output.read_text("utf-8"))
    rows = made["teams"]["shop-2"]["escalation_matrix"]
    assert [row["after"] for row in rows] == ["0m", "10m", "30m", "40m", "1h", "1h10m"]
    assert rows[1]["P1"] == ["ben", "rotation-days"]
    assert made["teams"]["shop-2"]["slack"] == "C0SHOP"
    layer = made["schedules"]["shop"]["layers"][0]
    assert (layer["people"], layer["handover"], layer["time_zone"]) == (
        ["ana", "ben", "cem"],
        "09:00",
        "America/New_York",
    )
    assert layer["windows"][0] == {"from": "mon 08:00", "to": "mon 20:00", "time_zone": "Europe/London"}
    assert (await importing.run_from("saved", "--force", "--verify")).code == 2


async def test_a_query_that_is_refused_and_a_wrong_key_are_one_clear_line(
    importing: Importing, server: FakeGoAlert
) -> None:
    server.error = "input: schedules.shifts\n too many"
    refused = await importing.run()
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "refuses the query: input: schedules.shifts too many" in refused.err
    importing.token = "another-key-3"
    wrong = await importing.run()
    assert (wrong.code, len(wrong.err.splitlines())) == (1, 1)
    assert "refuses the token" in wrong.err
    assert not importing.output.exists()


async def test_all_pages_are_read(importing: Importing, server: FakeGoAlert) -> None:
    many = [{"id": f"x{n}", "name": f"Person {n}", "email": f"{n}@example.com"} for n in range(250)]
    server.lists["users"] = [*USERS, *many]
    await importing.run()
    assert len(yaml.safe_load(importing.output.read_text("utf-8"))["people"]) == 254


async def test_the_query_can_be_printed_for_an_api_key(importing: Importing) -> None:
    assert (await importing.run("--print-query")).out == QUERY


async def test_a_time_that_cannot_be_read_is_named(importing: Importing, server: FakeGoAlert) -> None:
    rule = {"start": "soon", "end": "20:00", "weekdayFilter": ALL}
    server.lists["schedules"][0]["targets"] = [{"target": {"id": "A", "type": "user"}, "rules": [rule]}]
    done = await importing.run()
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "'soon'" in done.err


@st.composite
def schedule(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    rotations, targets = [], []
    for number in range(draw(st.integers(1, 2))):
        start = datetime(2026, 8, 1, tzinfo=UTC) + timedelta(minutes=15 * draw(st.integers(0, 5000)))
        users = draw(st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, max_size=4))
        rotations.append(
            {
                "id": f"r{number}",
                "name": f"r{number}",
                "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
                "userIDs": users,
                "type": draw(st.sampled_from(["hourly", "daily", "weekly", "monthly"])),
                "shiftLength": draw(st.integers(1, 13)),
                "activeUserIndex": draw(st.integers(0, len(users) - 1)),
                "timeZone": draw(st.sampled_from(["UTC", "Europe/London", "America/New_York"])),
            }
        )
        rules = [
            {
                "start": f"{draw(st.integers(0, 23)):02}:{draw(st.sampled_from(['00', '30']))}",
                "end": f"{draw(st.integers(0, 23)):02}:00",
                "weekdayFilter": draw(st.lists(st.booleans(), min_size=7, max_size=7)),
            }
            for _ in range(draw(st.integers(1, 3)))
        ]
        targets.append({"target": {"id": f"r{number}", "type": "rotation"}, "rules": rules})
    always = {
        "target": {"id": "D", "type": "user"},
        "rules": [ALWAYS],
    }
    frame = {"id": "s1", "name": "s", "timeZone": "Europe/London", "temporarySchedules": []}
    return {**frame, "targets": [*targets, always]}, rotations


@settings(
    max_examples=EXAMPLES // 3,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(made=schedule(), overridden=st.booleans())
def test_any_rules_mean_what_goalert_makes_of_them(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Json, list[Json]], overridden: bool
) -> None:
    begin, end = datetime(2026, 10, 15, tzinfo=UTC), datetime(2026, 11, 15, tzinfo=UTC)
    one, rotations = made
    overrides = OVERRIDES[:2] if overridden else []
    found = goalert_reference.shifts(one, rotations, overrides, KNOWN, begin, end)
    asked: dict[str, object] = {
        "users": USERS,
        "rotations": rotations,
        "userOverrides": overrides,
        "schedules": [{**one, "shifts": found, "later": []}],
    }
    draft = SOURCES["goalert"].draft(asked, begin)
    path = tmp_path_factory.mktemp("s") / "receiver.yml"
    path.write_text(document(draft), "utf-8")
    found_differences = proof.differences(build_routing(*load(path)).schedules, draft.rendered, begin, end)
    real = [difference for difference in found_differences if not difference.cause]
    assert not real, (one, rotations, real[:3])
