"""From a stand-in of Opsgenie to receiver.yml: who is on call by the documented rules and by ours."""

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
from receiver.importing.sources import SOURCES
from tests.examples import EXAMPLES
from tests.fakes.opsgenie_api import TOKEN, FakeOpsgenie
from tests.receiver.importing import opsgenie_reference
from tests.receiver.importing.command import Importing

Json = dict[str, Any]
NOW = datetime(2026, 9, 28, 10, 12, 31, tzinfo=UTC)
ANA: Json = {"type": "user", "id": "u1", "username": "ana@example.com"}
BEN: Json = {"type": "user", "id": "u2", "username": "ben@example.com"}
CEM: Json = {"type": "user", "id": "u3", "username": "cem@example.com"}
DAN: Json = {"type": "user", "id": "u4", "username": "dan@example.com"}
EVA: Json = {"type": "user", "id": "u5", "username": "eva@example.com"}
GONE: Json = {"type": "user", "id": "u9", "username": "gone@example.com"}
NONE: Json = {"type": "none"}
USERS: list[Json] = [
    {"id": one["id"], "username": one["username"], "fullName": one["username"][:3].title(), "timeZone": zone}
    for one, zone in ((ANA, "Europe/Berlin"), (BEN, "Europe/Berlin"), (CEM, "UTC"), (DAN, "Mars/City"), (EVA, "UTC"))
]
NIGHT: Json = {
    "type": "time-of-day",
    "restriction": {"startHour": 22, "startMin": 0, "endHour": 6, "endMin": 0},
}
WEEKEND: Json = {
    "type": "weekday-and-time-of-day",
    "restrictions": [
        {"startDay": "friday", "startHour": 18, "startMin": 0, "endDay": "monday", "endHour": 8, "endMin": 0},
        {"startDay": "sunday", "startHour": 0, "startMin": 0, "endDay": "sunday", "endHour": 12, "endMin": 0},
    ],
}
SCHEDULES: list[Json] = [
    {
        "id": "s1",
        "name": "Ops_schedule",
        "timezone": "Europe/Berlin",
        "enabled": True,
        "rotations": [
            {
                "id": "r1",
                "name": "week",
                "type": "weekly",
                "length": 1,
                "startDate": "2026-09-07T06:00:00Z",
                "participants": [ANA, BEN],
            },
            {
                "id": "r2",
                "name": "night",
                "type": "daily",
                "length": 1,
                "startDate": "2026-09-01T20:00:00Z",
                "participants": [CEM, NONE, DAN],
                "timeRestriction": NIGHT,
            },
            {
                "id": "r3",
                "name": "weekend",
                "type": "hourly",
                "length": 12,
                "startDate": "2026-09-01T06:00:00Z",
                "participants": [EVA, GONE],
                "timeRestriction": WEEKEND,
                "endDate": "2026-12-01T00:00:00Z",
            },
        ],
    },
    {"id": "s2", "name": "Off", "timezone": "UTC", "enabled": False, "rotations": []},
    {"id": "s3", "name": "Empty", "timezone": "UTC", "rotations": []},
    {"id": "s4", "name": "Nowhere", "timezone": "Mars/City", "rotations": []},
]
OVERRIDES: list[Json] = [
    {
        "alias": "o1",
        "user": EVA,
        "startDate": "2026-12-24T08:00:00Z",
        "endDate": "2026-12-27T08:00:00Z",
        "rotations": [{"id": "r2", "name": "night"}],
    },
    {
        "alias": "o2",
        "user": DAN,
        "startDate": "2026-11-11T08:00:00Z",
        "endDate": "2026-11-12T08:00:00Z",
        "rotations": [],
    },
    {"alias": "o3", "user": DAN, "startDate": "2026-01-11T08:00:00Z", "endDate": "2026-01-12T08:00:00Z"},
]
FORWARDING: list[Json] = [
    {"id": "f1", "fromUser": BEN, "toUser": CEM, "startDate": "2026-10-20T08:00:00Z", "endDate": "2026-10-30T08:00:00Z"}
]
ESCALATIONS: list[Json] = [
    {
        "id": "e1",
        "name": "Ops_escalation",
        "repeat": {"waitInterval": 30, "count": 1},
        "rules": [
            {"delay": {"timeAmount": 0, "timeUnit": "minutes"}, "recipient": {"type": "schedule", "id": "s1"}},
            {"delay": {"timeAmount": 5, "timeUnit": "minutes"}, "recipient": EVA, "condition": "if-not-closed"},
            {
                "delay": {"timeAmount": 10, "timeUnit": "minutes"},
                "recipient": {"type": "team", "id": "t1"},
                "notifyType": "random",
            },
        ],
    },
    {"id": "e2", "name": "Nobody", "rules": [{"delay": {"timeAmount": 0}, "recipient": GONE}]},
]
ROUTING: list[Json] = [
    {
        "id": "q1",
        "name": "urgent",
        "order": 0,
        "notify": {"type": "schedule", "id": "s1"},
        "criteria": {
            "type": "match-all-conditions",
            "conditions": [{"field": "priority", "operation": "equals", "expectedValue": "P1"}],
        },
    },
    {
        "id": "q2",
        "name": "tagged",
        "order": 1,
        "notify": {"type": "escalation", "id": "e1"},
        "criteria": {
            "type": "match-any-condition",
            "conditions": [{"field": "tags", "operation": "contains", "expectedValue": "x"}],
        },
    },
    {"id": "q3", "isDefault": True, "order": 2, "notify": {"type": "escalation", "id": "e1"}},
]


def answers() -> Json:
    begin, end = datetime(2026, 9, 28, tzinfo=UTC), datetime(2026, 12, 30, tzinfo=UTC)
    served = opsgenie_reference.timeline(SCHEDULES[0], OVERRIDES, FORWARDING, begin, end)
    return {
        "v2/users": USERS,
        "v2/schedules": SCHEDULES,
        "v2/schedules/s1/overrides": OVERRIDES,
        "v2/schedules/s1/timeline": served,
        **{f"v2/schedules/{one}/timeline": {} for one in ("s2", "s3", "s4")},
        "v2/forwarding-rules": FORWARDING,
        "v2/escalations": ESCALATIONS,
        "v2/teams": [{"id": "t1", "name": "Ops"}],
        "v2/teams/t1": {"id": "t1", "name": "Ops", "members": [{"user": ANA, "role": "admin"}, {"user": DAN}]},
        "v2/teams/t1/routing-rules": ROUTING,
        "v1/maintenance": [{"id": "m1", "description": "Upgrade", "status": "planned"}],
        "v2/users/u1/contacts": [
            {"id": "c1", "method": "email", "to": "ana@home.example.com"},
            {"id": "c2", "method": "voice", "to": "49-30123456"},
        ],
        "v2/users/u1/notification-rules": [
            {"id": "n1", "name": "New Alert", "actionType": "create-alert", "enabled": True},
            {"id": "n2", "name": "Closed", "actionType": "closed-alert", "enabled": True},
        ],
        "v2/users/u1/notification-rules/n1/steps": [
            {
                "id": "p1",
                "contact": {"method": "email"},
                "sendAfter": {"timeAmount": 0, "timeUnit": "minutes"},
                "enabled": True,
            },
            {
                "id": "p2",
                "contact": {"method": "voice"},
                "sendAfter": {"timeAmount": 5, "timeUnit": "minutes"},
                "enabled": True,
            },
        ],
    }


@pytest.fixture
async def server() -> AsyncIterator[FakeOpsgenie]:
    opsgenie = FakeOpsgenie(answers())
    await opsgenie.start()
    yield opsgenie
    await opsgenie.stop()


@pytest.fixture
def importing(server: FakeOpsgenie, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Importing:
    return Importing("opsgenie", server, TOKEN, NOW, tmp_path, capsys)


async def test_an_account_is_imported_and_agrees_at_every_hour(importing: Importing) -> None:
    done = await importing.run("--verify", "--save", str(importing.folder / "saved"))
    assert done.code == 2, done.out  # some lines are not exact
    assert "1 of 1 schedules" in done.out
    unexplained = done.out.strip().splitlines()[-1]
    assert unexplained.endswith(" 0 of them unexplained"), done.out
    made = yaml.safe_load(importing.output.read_text("utf-8"))
    assert [row["after"] for row in made["teams"]["ops-escalation"]["escalation_matrix"]] == [
        *("0m", "5m", "10m", "40m", "45m", "50m")
    ]
    assert made["people"]["ana"]["contacts"] == {"call": "+4930123456"}
    assert made["people"]["ana"]["rules"][0]["channels"] == ["email", "call"]
    assert made["channels"]["call"]["auth_token_file"] == "secrets/twilio-auth-token"
    assert "channels.call: account_sid and from of Twilio" in done.out
    assert made["escalation_matrix"][0] == {
        "after": "0m",
        **dict.fromkeys(["P1", "P2", "P3", "P4", "P5"], "ops-schedule"),
    }
    assert made["team_rules"] == [{"match": ['priority="P1"'], "team": "ops-schedule"}]
    assert made["people"]["ben"]["vacation"][0]["stand_in"] == "cem"
    again = await importing.run_from("saved", "--force", "--verify")
    assert again.out.strip().splitlines()[-1] == unexplained


async def test_every_object_of_the_account_has_a_line(importing: Importing) -> None:
    done = await importing.run()
    shown = " ".join(done.out.split("To fill in")[0].split())
    for name in (
        "Ops_schedule",
        "Off",
        "Empty",
        "Nowhere",
        "week",
        "night",
        "weekend",
        "o1",
        "o2",
        "o3",
        "f1",
        "Upgrade",
    ):
        assert name in shown
    assert "blocked" not in shown
    assert "gone@example.com" in shown


async def test_a_wrong_key_and_a_cut_answer_are_one_clear_line(importing: Importing, server: FakeOpsgenie) -> None:
    server.cut = "v2/schedules/s1/overrides"
    cut = await importing.run()
    assert (cut.code, len(cut.err.splitlines())) == (1, 1)
    assert "cut or invalid JSON" in cut.err
    importing.token = "another-key-11"
    refused = await importing.run()
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "refuses the token" in refused.err
    assert not importing.output.exists()


async def test_a_limit_of_the_rate_is_waited_for(importing: Importing, server: FakeOpsgenie) -> None:
    server.misfortunes = [(429, {"Retry-After": "0"})]
    assert (await importing.run()).code == 2


async def test_users_are_read_page_by_page(importing: Importing, server: FakeOpsgenie) -> None:
    many = [{"id": f"x{n}", "username": f"person{n}@example.com", "fullName": f"Person {n}"} for n in range(250)]
    server.answers["v2/users"] = [*USERS, *many]
    await importing.run()
    assert len(yaml.safe_load(importing.output.read_text("utf-8"))["people"]) == 255


RESTRICTIONS = st.one_of(
    st.none(),
    st.builds(
        lambda start, end: {
            "type": "time-of-day",
            "restriction": {"startHour": start, "startMin": 0, "endHour": end, "endMin": 30},
        },
        st.integers(0, 23),
        st.integers(0, 23),
    ),
    st.lists(
        st.builds(
            lambda day, start, long: {
                "startDay": opsgenie_reference.DAYS[day],
                "startHour": start,
                "startMin": 30,
                "endDay": opsgenie_reference.DAYS[(day + long) % 7],
                "endHour": 12,
                "endMin": 0,
            },
            st.integers(0, 6),
            st.integers(0, 11),
            st.integers(0, 5),
        ),
        min_size=1,
        max_size=3,
    ).map(lambda listed: {"type": "weekday-and-time-of-day", "restrictions": listed}),
)


@st.composite
def rotation(draw: st.DrawFn, name: str) -> Json:
    start = datetime(2026, 8, 1, tzinfo=UTC) + timedelta(minutes=30 * draw(st.integers(0, 2400)))
    made: Json = {
        "id": name,
        "name": name,
        "type": draw(st.sampled_from(["hourly", "daily", "weekly"])),
        "length": draw(st.integers(1, 3)),
        "startDate": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "participants": [ANA, *draw(st.lists(st.sampled_from([ANA, BEN, CEM, NONE]), max_size=3))],
        "timeRestriction": draw(RESTRICTIONS),
    }
    if draw(st.booleans()):
        made["endDate"] = "2026-11-20T00:00:00Z"
    return made


@settings(
    max_examples=EXAMPLES // 3,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(one=rotation("one"), other=rotation("other"), override=st.sampled_from([[], ["one"], ["one", "other"]]))
def test_any_rotations_mean_what_opsgenie_says(
    tmp_path_factory: pytest.TempPathFactory, one: Json, other: Json, override: list[str]
) -> None:
    begin, end = datetime(2026, 10, 15, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)
    schedule = {"id": "s1", "name": "s", "timezone": "Europe/Berlin", "rotations": [one, other]}
    overrides = [
        {
            "alias": "o",
            "user": EVA,
            "startDate": "2026-11-03T09:00:00Z",
            "endDate": "2026-11-05T10:30:00Z",
            "rotations": [{"name": name} for name in override],
        }
    ]
    served = opsgenie_reference.timeline(schedule, overrides, FORWARDING, begin, end)
    asked: dict[str, object] = {
        "users": USERS,
        "schedules": [schedule],
        "overrides": {"s1": overrides},
        "forwarding_rules": FORWARDING,
        "timelines": {"s1": served},
    }
    draft = SOURCES["opsgenie"].draft(asked, begin)
    path = tmp_path_factory.mktemp("s") / "receiver.yml"
    path.write_text(document(draft), "utf-8")
    found = proof.differences(build_routing(*load(path)).schedules, draft.rendered, begin, end)
    real = [difference for difference in found if not difference.cause]
    assert not real, (schedule, override, real[:3])
