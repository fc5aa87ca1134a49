"""From a stand-in of PagerDuty to receiver.yml: who is on call by the documented rules and by ours."""

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
from tests.fakes.pagerduty_api import TOKEN, FakePagerDutyRest
from tests.receiver.importing import pagerduty_reference
from tests.receiver.importing.command import Importing

Json = dict[str, Any]
NOW = datetime(2026, 9, 28, 10, 12, 31, tzinfo=UTC)


def user(identity: str, name: str, **more: object) -> Json:
    frame = {"id": identity, "type": "user", "name": name, "email": f"{name.lower()}@example.com", "time_zone": "UTC"}
    return {**frame, "contact_methods": [], "notification_rules": [], **more}


def ref(identity: str, kind: str = "user_reference") -> Json:
    return {"id": identity, "type": kind, "summary": identity}


def turns(*identities: str) -> list[Json]:
    return [{"user": ref(identity)} for identity in identities]


PHONE = {"id": "C2", "type": "phone_contact_method", "address": "30 55501-23", "country_code": 49}
EMAIL = {"id": "C1", "type": "email_contact_method", "address": "ana@home.example.com"}
EMAIL_REF, PHONE_REF = ref("C1", "email_contact_method"), ref("C2", "phone_contact_method")
USERS: list[Json] = [
    user(
        *("PA", "Ana"),
        time_zone="Europe/Berlin",
        contact_methods=[EMAIL, PHONE],
        notification_rules=[
            {
                "id": "N1",
                "urgency": "high",
                "start_delay_in_minutes": 0,
                "contact_method": ref("C1", "email_contact_method"),
            },
            {
                "id": "N2",
                "urgency": "high",
                "start_delay_in_minutes": 5,
                "contact_method": ref("C2", "phone_contact_method"),
            },
            {
                "id": "N3",
                "urgency": "low",
                "start_delay_in_minutes": 0,
                "contact_method": ref("C1", "email_contact_method"),
            },
        ],
    ),
    user("PB", "Ben"),
    user("PC", "Cem", time_zone="Mars/City"),
]
WEEKEND: Json = {
    "type": "weekly_restriction",
    "start_day_of_week": 5,
    "start_time_of_day": "18:00:00",
    "duration_seconds": 223200,
}


def layer(name: str, start: str, virtual: str, length: int, users: list[Json], **more: object) -> Json:
    frame = {"id": name, "name": name, "start": start, "end": None, "rotation_virtual_start": virtual}
    return {**frame, "rotation_turn_length_seconds": length, "users": users, "restrictions": [], **more}


SCHEDULES: list[Json] = [
    {
        "id": "S1",
        "name": "Primary",
        "time_zone": "Europe/Berlin",
        "schedule_layers": [  # the one that wins is first
            layer(
                *("weekend", "2026-09-04T16:00:00Z", "2026-09-04T16:00:00Z", 604800, turns("PC")),
                restrictions=[WEEKEND, {**WEEKEND, "start_day_of_week": 6}],  # they overlap
            ),
            layer("week", "2026-10-05T07:00:00Z", "2026-09-07T07:00:00Z", 604800, turns("PA", "PB")),
            layer(
                "old", "2025-10-05T07:00:00Z", "2025-09-07T07:00:00Z", 604800, turns("PA"), end="2026-01-01T00:00:00Z"
            ),
            layer("empty", "2026-10-05T07:00:00Z", "2026-09-07T07:00:00Z", 604800, []),
        ],
    },
    {
        "id": "S2",
        "name": "Nights",
        "time_zone": "America/New_York",
        "schedule_layers": [
            layer(
                *("nights", "2026-09-01T00:00:00Z", "2026-09-01T00:00:00Z", 43200, turns("PA", "PGONE", "PC")),
                restrictions=[
                    {"type": "daily_restriction", "start_time_of_day": "22:00:00", "duration_seconds": 28800},
                ],
            ),
        ],
    },
    {"id": "S3", "name": "Nowhere", "time_zone": "Mars/City", "schedule_layers": []},
]
OVERRIDES: dict[str, list[Json]] = {
    "S1": [{"id": "O1", "start": "2026-12-24T08:00:00Z", "end": "2026-12-25T08:00:00Z", "user": ref("PC")}]
}
POLICIES: list[Json] = [
    {
        "id": "E1",
        "name": "Shop",
        "num_loops": 1,
        "escalation_rules": [
            {"id": "L1", "escalation_delay_in_minutes": 15, "targets": [ref("S1", "schedule_reference")]},
            {
                "id": "L2",
                "escalation_delay_in_minutes": 30,
                "targets": [ref("PC"), ref("PGONE")],
                "escalation_rule_assignment_strategy": {"type": "round_robin"},
            },
        ],
    },
    {"id": "E2", "name": "Nobody", "num_loops": 0, "escalation_rules": [{"targets": [ref("PGONE")]}]},
]
SERVICES: list[Json] = [
    {
        "id": "V1",
        "name": 'Check "out"',
        "status": "active",
        "acknowledgement_timeout": 1800,
        "escalation_policy": ref("E1", "escalation_policy_reference"),
        "incident_urgency_rule": {"type": "constant", "urgency": "severity_based"},
    },
    {"id": "V2", "name": "Off", "status": "disabled", "escalation_policy": ref("E1", "escalation_policy_reference")},
    {"id": "V3", "name": "Lost", "status": "active", "escalation_policy": ref("E2", "escalation_policy_reference")},
]
WINDOWS: list[Json] = [
    {
        "id": "W1",
        "start_time": "2026-11-01T00:00:00Z",
        "end_time": "2026-11-01T02:00:00Z",
        "description": "Upgrade",
        "services": [ref("Shop (EU)", "service_reference")],
    }
]
KNOWN = {"PA", "PB", "PC"}


def lists() -> dict[str, list[Json]]:
    return {
        "users": USERS,
        "schedules": SCHEDULES,
        "escalation_policies": POLICIES,
        "services": SERVICES,
        "maintenance_windows": WINDOWS,
    }


def rendered() -> dict[str, list[Json]]:
    begin, end = datetime(2026, 9, 28, tzinfo=UTC), datetime(2026, 12, 30, tzinfo=UTC)
    return {
        one["id"]: pagerduty_reference.final(one, OVERRIDES.get(one["id"], []), begin, end, KNOWN)
        for one in SCHEDULES[:2]
    }


@pytest.fixture
async def server() -> AsyncIterator[FakePagerDutyRest]:
    pagerduty = FakePagerDutyRest(lists(), rendered(), OVERRIDES)
    await pagerduty.start()
    yield pagerduty
    await pagerduty.stop()


@pytest.fixture
def importing(server: FakePagerDutyRest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Importing:
    return Importing("pagerduty", server, TOKEN, NOW, tmp_path, capsys)


async def test_an_account_is_imported_and_agrees_at_every_hour(importing: Importing) -> None:
    done = await importing.run("--verify", "--save", str(importing.folder / "saved"))
    assert done.code == 2, done.out + done.err  # some lines are not exact
    assert "2 of 2 schedules" in done.out
    assert "the time lines of 1 escalations" in done.out
    assert done.out.strip().splitlines()[-1].endswith(" 0 of them unexplained"), done.out
    made = yaml.safe_load(importing.output.read_text("utf-8"))
    rows = made["teams"]["shop"]["escalation_matrix"]
    assert [(row["after"], row["P1"], row["P3"]) for row in rows] == [
        ("0m", "primary", "primary"),
        ("15m", "cem", "-"),
        ("45m", "primary", "-"),
        ("1h", "cem", "-"),
    ]
    assert made["teams"]["shop"]["acknowledge_for"]["P1"] == "30m"
    assert made["people"]["ana"]["rules"] == [
        {"channels": ["email", "call"], "priorities": ["P1", "P2"]},
        {"channels": ["email"], "priorities": ["P3", "P4"]},
    ]
    assert made["people"]["ana"]["contacts"] == {"call": "+49305550123"}
    routing = build_routing(*load(importing.output))
    assert routing.team({"service": 'Check "out"'}) == ("shop", None)
    assert routing.maintenance({"service": "Shop (EU)"}, datetime(2026, 11, 1, 1, tzinfo=UTC)) is not None
    assert (await importing.run_from("saved", "--force", "--verify")).code == 2


async def test_layers_are_those_of_the_page_of_facts(importing: Importing) -> None:
    await importing.run()
    layers = yaml.safe_load(importing.output.read_text("utf-8"))["schedules"]["primary"]["layers"]
    assert [(one["name"], one["start"], one["handover"], one.get("from")) for one in layers] == [
        ("week", "2026-09-07", "09:00", "2026-10-05T09:00"),
        ("weekend", "2026-09-04", "18:00", None),
    ]
    assert layers[1]["windows"][0] == {"from": "fri 18:00", "to": "mon 08:00"}


async def test_a_refusal_and_a_full_page_limit_are_one_clear_line(
    importing: Importing, server: FakePagerDutyRest
) -> None:
    importing.token = "another-token-5"
    refused = await importing.run()
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "refuses the token" in refused.err
    importing.token = TOKEN
    server.lists["users"] = [*USERS, *(user(f"X{n}", f"Person {n}") for n in range(10_050))]
    many = await importing.run()
    assert (many.code, len(many.err.splitlines())) == (1, 1)
    assert "HTTP 400" in many.err
    assert not importing.output.exists()


async def test_a_restriction_and_a_time_that_cannot_be_read_are_named(
    importing: Importing, server: FakePagerDutyRest
) -> None:
    broken = layer("x", "2026-09-01T00:00:00Z", "2026-09-01T00:00:00Z", 86400, turns("PA"), restrictions=[WEEKEND])
    for restriction, says in (
        ({**WEEKEND, "start_time_of_day": "soon"}, "restriction"),
        ({**WEEKEND, "duration_seconds": "long"}, "duration_seconds"),
    ):
        broken["restrictions"] = [restriction]
        server.lists["schedules"] = [{"id": "S9", "name": "x", "time_zone": "UTC", "schedule_layers": [broken]}]
        done = await importing.run()
        assert (done.code, len(done.err.splitlines())) == (1, 1)
        assert says in done.err
    broken["restrictions"], broken["rotation_virtual_start"] = [], "9999-12-31T23:59:59-11:00"
    done = await importing.run()
    assert (done.code, len(done.err.splitlines())) == (1, 1)


RESTRICTION = st.builds(
    lambda day, hour, long: {
        "type": "weekly_restriction" if day else "daily_restriction",
        "start_time_of_day": f"{hour:02}:30:00",
        **{"duration_seconds": 3600 * (long if day else min(long, 23))} | ({"start_day_of_week": day} if day else {}),
    },
    st.integers(0, 7),
    st.integers(0, 23),
    st.integers(1, 150),
)


@st.composite
def layers(draw: st.DrawFn) -> list[Json]:
    made = []
    for number in range(draw(st.integers(1, 3))):
        virtual = datetime(2026, 8, 1, tzinfo=UTC) + timedelta(minutes=30 * draw(st.integers(0, 2400)))
        start = virtual + timedelta(hours=draw(st.sampled_from([0, 0, 30, 1500])))
        length = draw(st.sampled_from([3600, 43200, 86400, 2 * 86400, 604800, 100_800]))
        users = turns("PA", *draw(st.lists(st.sampled_from(["PA", "PB", "PC"]), max_size=3)))
        end = draw(st.sampled_from([None, None, "2026-11-03T04:30:00Z"]))
        restrictions = draw(st.lists(RESTRICTION, max_size=3))
        begins, counted = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (start, virtual))
        made.append(layer(f"l{number}", begins, counted, length, users, end=end, restrictions=restrictions))
    return made


@settings(
    max_examples=EXAMPLES // 3,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(layers=layers(), zone=st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]))
def test_any_layers_mean_what_pagerduty_says(
    tmp_path_factory: pytest.TempPathFactory, layers: list[Json], zone: str
) -> None:
    begin, end = datetime(2026, 10, 15, tzinfo=UTC), datetime(2026, 11, 15, tzinfo=UTC)
    schedule = {"id": "S1", "name": "s", "time_zone": zone, "schedule_layers": layers}
    final = pagerduty_reference.final(schedule, [], begin, end, KNOWN)
    asked: dict[str, object] = {"users": USERS, "schedules": [schedule], "rendered": {"S1": final}}
    draft = SOURCES["pagerduty"].draft(asked, begin)
    path = tmp_path_factory.mktemp("s") / "receiver.yml"
    path.write_text(document(draft), "utf-8")
    found = proof.differences(build_routing(*load(path)).schedules, draft.rendered, begin, end)
    real = [difference for difference in found if not difference.cause]
    assert not real, (layers, real[:3])
