"""From a stand-in of Grafana OnCall to receiver.yml: who is on call by OnCall's own definition and by ours."""

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
from receiver.importing.draft import Told
from receiver.importing.sources import SOURCES
from tests.examples import EXAMPLES
from tests.fakes.oncall_api import TOKEN, FakeOnCall
from tests.receiver.importing import oncall_installation as installation
from tests.receiver.importing import oncall_reference
from tests.receiver.importing.command import Imported, Importing


@pytest.fixture
async def oncall() -> AsyncIterator[FakeOnCall]:
    server = FakeOnCall(installation.lists(), installation.finals())
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def importing(oncall: FakeOnCall, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Importing:
    return Importing("oncall", oncall, TOKEN, installation.NOW, tmp_path, capsys)


async def test_an_installation_is_imported_and_agrees_at_every_hour(importing: Importing) -> None:
    done = await importing.run("--verify")
    assert done.code == 2  # some lines are not exact
    assert "3 of 4 schedules" in done.out
    assert "the time lines of 2 escalations" in done.out
    assert "0 differences, 0 of them unexplained" in done.out
    made = yaml.safe_load(importing.output.read_text("utf-8"))
    calendar = {"time_zone": "UTC", "calendar": {"url_file": "secrets/from-google-calendar"}}
    assert made["schedules"]["from-google"] == calendar
    assert "calendar.example.com" not in importing.output.read_text("utf-8"), "the URL of a calendar is a secret"
    assert made["people"]["ana"]["slack"] == "U0ANA"
    assert made["people"]["eva"]["contacts"] == {"apprise": "eva-phone"}
    assert made["teams"]["default"] == {"slack": "C0SHOP"}
    assert made["team_rules"] == [
        {"match": ['team="data"'], "team": "data-2"},
        {"match": ['service="warehouse"'], "team": "data-2"},
    ]
    rows = [row["after"] for row in made["teams"]["shop"]["escalation_matrix"]]
    assert rows == ["0m", "5m", "20m", "25m", "40m", "45m", "1h", "1h5m", "1h20m", "1h25m", "1h40m", "1h45m"]


async def test_every_object_of_the_source_has_one_line_of_the_report(importing: Importing) -> None:
    await importing.run()
    draft = SOURCES["oncall"].draft({**installation.lists(), "final_shifts": installation.finals()}, installation.NOW)
    subjects = [line.subject for line in draft.report]
    assert len(subjects) == len(set(subjects))
    for name, kind in {
        "schedules": "schedule",
        "escalation_chains": "escalation chain",
        "integrations": "integration",
    }.items():
        for one in installation.lists()[name]:
            assert f"{kind} {one['name']}" in subjects
    assert len([s for s in subjects if s.startswith("escalation step ")]) == len(installation.STEPS)
    assert len([s for s in subjects if s.startswith("route ")]) == len(installation.ROUTES)
    assert len([s for s in subjects if s.startswith(("shift shift ", "override "))]) == len(installation.SHIFTS)


async def test_accepted_lines_end_the_work_and_a_second_import_changes_nothing(importing: Importing) -> None:
    first = await importing.run("--save", str(importing.folder / "saved"))
    text = importing.output.read_bytes()
    lines = first.out.split("one line for each:\n")[1].splitlines()
    (importing.folder / "accepted").write_text("\n".join(lines), "utf-8")
    accept = ("--accept", str(importing.folder / "accepted"), "--force")
    assert (await importing.run(*accept)).code == 0
    assert importing.output.read_bytes() == text
    saved = await importing.run_from("saved", *accept, "--verify")
    assert saved.code == 0, saved.err
    assert importing.output.read_bytes() == text


async def test_a_file_that_exists_is_kept(importing: Importing) -> None:
    importing.output.write_text("mine", "utf-8")
    done = await importing.run()
    assert (done.code, importing.output.read_text("utf-8")) == (1, "mine")
    assert "--force" in done.err
    assert not importing.server.calls, "nothing is asked for a file that cannot be written"


async def test_a_wrong_rendering_is_printed_with_its_times(importing: Importing, oncall: FakeOnCall) -> None:
    wrong = next(row for row in oncall.finals["S1"] if row["shift_start"] > "2026-11-02")
    wrong["user_pk"] = "UE" if wrong["user_pk"] != "UE" else "UA"
    stranger = next(row for row in oncall.finals["S2"] if row["shift_start"] > "2026-11-10")
    stranger["user_pk"], stranger["user_username"] = "UGONE", "gone"
    done = await importing.run("--verify")
    assert done.code == 1
    assert "UNEXPLAINED" in done.out
    assert wrong["shift_start"][:10] in done.out
    cause = done.out.partition("cause")[2]  # a narrow terminal wraps it
    assert "not imported:" in cause
    assert "<gone>" in cause
    assert "2 differences, 1 of them unexplained" in done.out


async def test_what_a_calendar_of_overrides_changes_is_explained(importing: Importing, oncall: FakeOnCall) -> None:
    (first, *rest) = oncall.lists["schedules"]
    oncall.lists["schedules"] = [{**first, "ical_url_overrides": "https://calendar.example.com/x.ics"}, *rest]
    changed = next(row for row in oncall.finals["S1"] if row["shift_start"] > "2026-11-02")
    changed["user_pk"] = "UE" if changed["user_pk"] != "UE" else "UA"
    done = await importing.run("--verify")
    assert done.code == 2, done.out
    assert "1 differences, 0 of them unexplained" in done.out


def test_a_step_at_another_time_or_for_somebody_else_is_a_difference() -> None:
    told = {"shop": (Told(0, frozenset({"ana"})), Told(300, frozenset({"ben"})))}
    ours = {"shop": {0: frozenset({"ana"}), 360: frozenset({"ben"})}}
    found = proof.delays(told, ours, {}, installation.NOW)
    assert [(one.after, sorted(one.source), sorted(one.ours)) for one in found] == [
        (300, ["ben"], []),
        (360, [], ["ben"]),
    ]
    assert not proof.delays(told, {"shop": {0: frozenset({"ana"}), 300: frozenset({"ben"})}}, {}, installation.NOW)


@pytest.mark.parametrize(
    ("misfortune", "says"),
    [
        ([(401, {})], "refuses the token"),
        ([(403, {})], "does not let this token read"),
        ([(302, {"Location": "http://evil.invalid/"})], "HTTP 302"),
        ([(503, {"Retry-After": "0"})] * 6, "HTTP 503"),
    ],
)
async def test_a_refusal_is_one_clear_line(
    importing: Importing, oncall: FakeOnCall, misfortune: list[tuple[int, dict[str, str]]], says: str
) -> None:
    oncall.misfortunes = misfortune
    clearly(importing, await importing.run(), says)


async def test_a_wrong_token_is_one_clear_line(importing: Importing) -> None:
    importing.token = "another-token-77aa"  # of nobody
    clearly(importing, await importing.run(), "refuses the token")


async def test_a_limit_of_the_rate_is_waited_for(importing: Importing, oncall: FakeOnCall) -> None:
    oncall.misfortunes = [(429, {"Retry-After": "0"}), (429, {"Retry-After": "0"})]
    done = await importing.run("--verify")
    assert done.code == 2
    assert done.err.count("answered 429: waiting 0 s") == 2


async def test_a_page_that_is_cut_is_one_clear_line(importing: Importing, oncall: FakeOnCall) -> None:
    oncall.cut = "users"
    clearly(importing, await importing.run(), "cut or invalid JSON")


async def test_ten_thousand_users_are_read_page_by_page(importing: Importing, oncall: FakeOnCall) -> None:
    many = [{"id": f"U{n}", "username": f"person {n % 500}", "email": f"{n}@example.com"} for n in range(10_000)]
    oncall.lists["users"] = [*installation.USERS, *many]
    assert (await importing.run()).code == 2
    assert len(yaml.load(importing.output.read_text("utf-8"), Loader=yaml.CSafeLoader)["people"]) == 10_005
    assert sum(call.path.endswith("/users/") for call in oncall.calls) == 101


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("users.json", '{"count": 120, "next": "https://x.invalid/?page=2", "results": []}', "only the first page"),
        ("users.json", '[{"id": "UA"', "cut or invalid JSON"),
        ("users.json", '[{"name": "ana"}]', "missing required field `id`"),
        ("users.json", "[" * 5000 + "]" * 5000, "users.json"),
        ("about.json", '{"source": "opsgenie", "taken_at": "2026-09-28"}', "saved from 'opsgenie'"),
        ("about.json", '{"source": "oncall", "taken_at": "soon"}', "invalid taken_at"),
        ("on_call_shifts.json", '[{"id": "O1", "type": "override", "start": "soon", "duration": 1}]', "start"),
    ],
)
async def test_saved_answers_that_cannot_be_read_are_named(
    importing: Importing, name: str, content: str, says: str
) -> None:
    await importing.run("--save", str(importing.folder / "saved"))
    importing.output.unlink()
    (importing.folder / "saved" / name).write_text(content, "utf-8")
    clearly(importing, await importing.run_from("saved"), says)


async def test_more_days_than_the_source_rendered_are_not_compared(importing: Importing) -> None:
    await importing.run("--save", str(importing.folder / "saved"), "--days", "30")
    importing.output.unlink()
    clearly(importing, await importing.run_from("saved", "--verify"), "set --days 30")
    assert (await importing.run_from("saved", "--verify", "--days", "30")).code == 2
    importing.output.unlink()
    clearly(importing, await importing.run("--days", "400"), "invalid --days 400")


async def test_an_empty_folder_and_none_at_all_are_named(importing: Importing) -> None:
    (importing.folder / "empty").mkdir()
    clearly(importing, await importing.run_from("empty"), "has none of the files")
    clearly(importing, await importing.run_from("nowhere"), "is no folder")


def clearly(importing: Importing, done: Imported, says: str) -> None:
    """One line, no traceback, no token, no file."""
    assert (done.code, len(done.err.splitlines()) - done.err.count("waiting")) == (1, 1), done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert not importing.output.exists()
    assert not list(importing.folder.glob(".receiver.yml*"))


# Our arithmetic against OnCall's, for shifts that nobody has thought of.

DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
PEOPLE = ["UA", "UB", "UC", "UGONE"]
GROUP = st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=2, unique=True)


@st.composite
def shift(draw: st.DrawFn) -> dict[str, Any]:
    frequency = draw(st.sampled_from(["hourly", "daily", "daily", "weekly", "weekly", "monthly"]))
    kind = draw(st.sampled_from(["rolling_users", "rolling_users", "recurrent_event"]))
    start = datetime.fromisoformat("2026-08-01") + timedelta(hours=draw(st.integers(0, 24 * 40)))
    by_day = draw(st.one_of(st.none(), st.lists(st.sampled_from(DAYS), min_size=1, unique=True)))
    interval = draw(st.integers(1, 3))
    if frequency == "hourly":
        by_day, interval = None, draw(st.sampled_from([4, 6, 12]))
    if frequency == "daily" and by_day and kind == "rolling_users":
        interval = min(interval, len(by_day))  # the API refuses anything else
    if kind == "recurrent_event" and by_day:  # iCal leaves open what a start on another day means
        by_day = sorted({*by_day, DAYS[start.weekday()]})
    longest = {"hourly": interval, "daily": 24 * interval + 8, "weekly": 24 * 7 * interval, "monthly": 48}[frequency]
    made: dict[str, Any] = {
        "id": "O1",
        "type": kind,
        "name": "x",
        "level": 1,
        "frequency": frequency,
        "interval": interval,
        "start": start.isoformat(),
        "duration": 3600 * draw(st.integers(1, longest)),
        "by_day": by_day,
        "rotation_start": (start + timedelta(hours=draw(st.sampled_from([0, 0, 30, 200])))).isoformat(),
        "week_start": draw(st.sampled_from(["MO", "SU"])) if frequency == "weekly" else None,
        "until": draw(st.sampled_from([None, None, "2026-10-14T13:00:00", "2026-11-03T00:00:00"])),
        "time_zone": draw(st.sampled_from(["UTC", "Europe/Paris", "America/New_York"])),
        "by_monthday": [1, 15, -1] if frequency == "monthly" and not by_day else None,
    }
    # The importer says of these that they are approximated: see oncall_shifts._oddity.
    if made["until"] or by_day:
        made["duration"] = min(made["duration"], 86400)
    if by_day and frequency == "daily":
        made["until"] = None
    if by_day and DAYS[start.weekday()] not in by_day:
        made["rotation_start"] = made["start"]
    if kind == "rolling_users":
        groups = draw(st.lists(GROUP, min_size=1, max_size=4))
        made |= {"rolling_users": groups, "start_rotation_from_user_index": draw(st.integers(0, len(groups) - 1))}
        made["rolling_users"][0] = ["UA"]  # somebody is there
    else:
        made["users"] = ["UA", "UB"]
    return made


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(shift=shift(), web=st.booleans())
def test_any_shift_means_what_oncall_makes_of_it(
    tmp_path_factory: pytest.TempPathFactory, shift: dict[str, Any], web: bool
) -> None:
    begin, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    users = [{"id": identity, "username": identity, "email": f"{identity}@example.com"} for identity in PEOPLE[:3]]
    kind = "web" if web else "calendar"
    schedule = {"id": "S1", "name": "s", "type": kind, "time_zone": "Europe/Paris", "shifts": ["O1", "O0"]}
    floor = {
        "id": "O0",
        "type": "single_event",
        "start": "2026-09-01T00:00:00",
        "duration": 20_000_000,
        "users": ["UC"],
    }
    known = set(PEOPLE[:3])
    shifts = [(shift, shift["time_zone"]), (floor, "UTC" if web else "Europe/Paris")]
    final = oncall_reference.final(shifts, [], known, begin, end, web=web)
    answers: dict[str, object] = {
        "users": users,
        "schedules": [schedule],
        "on_call_shifts": [shift, floor],
        "final_shifts": {"S1": final},
    }
    draft = SOURCES["oncall"].draft(answers, begin)
    path = tmp_path_factory.mktemp("s") / "receiver.yml"
    path.write_text(document(draft), "utf-8")
    routing = build_routing(*load(path))
    found = proof.differences(routing.schedules, draft.rendered, begin, end)
    real = [one for one in found if not one.cause.startswith("the clocks")]
    assert not real, (shift, real[:3], yaml.safe_load(document(draft))["schedules"])
