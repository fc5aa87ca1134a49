"""The commands, as somebody types them: explain, test, check, schedule, preview."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.__main__ import main
from receiver.app import now
from receiver.messages.i18n import Reader
from tests.receiver.config.test_config import EXAMPLE, edited
from tests.receiver.oncall.test_schedule import SCHEDULES, scheduled

Capture = pytest.CaptureFixture[str]
FAR_OFF = "9999-12-31T23:59:59-14:00"


def test_check_names_an_unknown_role_of_the_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = edited(tmp_path, "P1: cto, ", "P1: ceo, ")
    assert main(["check", "--config.file", str(path)]) == 1
    assert "unknown role 'ceo'" in capsys.readouterr().err


def test_a_drill_takes_a_token_where_the_file_of_receiver_yml_is_for_the_service_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, own = edited(tmp_path, "roles:", "roles:"), tmp_path / "token"
    own.write_text("t" * 32, "utf-8")
    command = ["drill", "--config.file", str(path), "--alertmanager.url=http://127.0.0.1:1"]
    assert main(command) == 1
    assert "api.token_file: cannot read" in capsys.readouterr().err
    assert main([*command, "--token.file", str(own)]) == 1
    assert "Alertmanager at http://127.0.0.1:1 cannot be reached: Connection refused" in capsys.readouterr().err


def test_explain_says_who_is_told_when_how_and_why(capsys: Capture) -> None:
    command = ["explain", "--config.file", str(EXAMPLE), "--alert=HighErrorRate", "--at=2026-11-23T03:00"]
    assert main(command) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "firing from Mon 2026-11-23 03:00 UTC and answered by nobody, is a P1 of team backend:" in " ".join(lines)
    assert any(line.startswith("0m Mon 03:00 page Linh Tran pagerduty, slack, holds") for line in lines)
    assert any(line.startswith("15m Mon 03:15 page Marek Novak pagerduty, slack, holds tech-lead") for line in lines)
    assert any(line.startswith("1h Mon 04:00 page Peter Schmidt") for line in lines)


OFFICE = """hours:
  office: {time_zone: UTC, hours: "09:00-18:00", days: [mon, tue, wed, thu, fri]}
escalation_matrix:
  - {after: 0m, P1: on-call-engineer, P2: "-", P3: on-call-engineer, P4: on-call-engineer}
  - {after: 1m, P1: "-", P2: tech-lead, P3: "-", P4: "-", only: office}
  - {after: 4h, P1: "-", P2: engineering-manager, P3: "-", P4: "-", only: office}
"""


def test_explain_runs_to_the_last_step_in_its_hours_and_folds_repeats(tmp_path: Path, capsys: Capture) -> None:
    text = EXAMPLE.read_text("utf-8")
    matrix = re.search(r"^escalation_matrix:\n(  - .*\n)+", text, re.MULTILINE)
    assert matrix is not None
    path = edited(tmp_path, matrix.group(), OFFICE)
    command = ["explain", "--config.file", str(path), "severity=warning", "--at=2026-11-27T18:00", "--format=json"]
    assert main(command) == 0
    answer = json.loads(capsys.readouterr().out)
    pages = [(row["at"], row["who"]) for row in answer["rows"] if row["kind"] == "page" and row["role"]]
    assert list(dict.fromkeys(pages)) == [
        ("2026-11-30T09:00:00Z", "Marek Novak"),
        ("2026-11-30T13:00:00Z", "Aisha Bello"),
    ]
    assert answer["repeat_every_seconds"] == 7200.0
    assert main(command[:-1]) == 0
    assert "every 2h until answered" in capsys.readouterr().out


def test_explain_as_json_names_every_address(capsys: Capture) -> None:
    assert main(["explain", "--config.file", str(EXAMPLE), "severity=info", "team=nix", "--format=json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["address"] for row in rows if row["kind"] == "page"} >= {"U01LINH", "#alerts", "engineers"}


def test_explain_says_what_is_odd(capsys: Capture) -> None:
    assert main(["explain", "--config.file", str(EXAMPLE), "severity=odd", "--at=2026-11-23T03:00+07:00"]) == 0
    text = capsys.readouterr().out
    assert "0m: " + Reader().say("entry_severity_unknown", named="odd", priority="P2") in text
    assert "Sun 2026-11-22 20:00 UTC" in text


def test_explain_asks_the_schedule_at_that_moment(tmp_path: Path, capsys: Capture) -> None:
    path = str(scheduled(tmp_path))
    for at, who in (("2026-11-23T03:00", "Marek Novak"), ("2026-12-24T03:00", "Peter Schmidt")):
        assert main(["explain", "--config.file", path, "severity=critical", f"--at={at}"]) == 0
        assert f"page {who}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "name labels"),
        (["severity"], "'severity' is no label"),
        (["--alert=Nope"], "there is no alert 'Nope' in rules; there are "),
        (["a=b", "--at=soon"], "--at 'soon' is no time"),
        (["a=b", "--at=9999-12-31T23:59"], "--at '9999-12-31T23:59' is no time of the years 1970 to 2199"),
        (["a=b", "--at=0001-01-01T00:00+14:00"], "--at '0001-01-01T00:00+14:00' is no time"),
        (["a=b", "--rules.dir=nowhere", "--alert=X"], "there are none"),
    ],
)
def test_a_wrong_question_is_one_line(options: list[str], says: str, capsys: Capture) -> None:
    assert main(["explain", "--config.file", str(EXAMPLE), *options]) == 1
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["schedule", "--at", FAR_OFF],
        ["report", "--until", FAR_OFF],
        ["review", "--period", "monthly", "--prometheus.url", "http://127.0.0.1:1", "--until", FAR_OFF],
    ],
)
def test_no_time_is_too_far_off_to_be_told_so(command: list[str], capsys: Capture) -> None:
    assert main([*command, "--config.file", str(EXAMPLE)]) == 1
    assert f"{FAR_OFF}' is no time of the years 1970 to 2199" in capsys.readouterr().err


def test_the_whole_matrix_of_the_document_passes_its_tests(capsys: Capture) -> None:
    assert main(["test", "tests/receiver/receiver_test.yml"]) == 0
    assert capsys.readouterr().out == "OK: 11 policy tests passed\n"


def test_a_test_that_fails_shows_the_difference(tmp_path: Path, capsys: Capture) -> None:
    text = Path("tests/receiver/receiver_test.yml").read_text("utf-8")
    path = tmp_path / "test.yml"
    path.write_text(text.replace("15m  page      Marek Novak", "16m  page      Marek Novak", 1), "utf-8")
    assert main(["test", str(path), "--config.file", str(EXAMPLE)]) == 1
    shown = capsys.readouterr()
    assert shown.out == "10 of 11 policy tests passed\n"
    assert "P1 that nobody answers walks the whole column" in shown.err
    assert "-16m page Marek Novak" in shown.err
    assert "+15m page Marek Novak" in shown.err


def test_a_change_of_the_policy_breaks_its_tests(tmp_path: Path, capsys: Capture) -> None:
    changed = edited(tmp_path, "{after: 15m,", "{after: 20m,")
    assert main(["test", "tests/receiver/receiver_test.yml", "--config.file", str(changed)]) == 1
    assert "+20m page Marek Novak" in capsys.readouterr().err


def test_an_alert_that_fires_again_after_an_hour_pages_again(tmp_path: Path) -> None:
    path = tmp_path / "test.yml"
    labels = "{alertname: HighErrorRate, severity: critical, team: backend}"
    path.write_text(
        f"""
tests:
  - name: fires, resolves, and fires again
    start: "2026-11-24T10:00:00+01:00"
    happens:
      - {{at: 0m, fires: {labels}}}
      - {{at: 5m, resolves: {labels}}}
      - {{at: 65m, fires: {labels}}}
    until: 70m
    expect: |
      0m   page      Linh Tran
      5m   resolved  Linh Tran
      1h5m page      Linh Tran
""",
        "utf-8",
    )
    assert main(["test", str(path), "--config.file", str(EXAMPLE)]) == 0


def test_a_resolve_that_is_undone_is_told_and_the_steps_go_on(tmp_path: Path) -> None:
    path = tmp_path / "test.yml"
    path.write_text(
        """
tests:
  - name: resolved by mistake
    start: "2026-11-24T10:00:00+01:00"
    happens:
      - {at: 0m, fires: {alertname: HighErrorRate, severity: critical, team: backend}}
      - {at: 5m, resolve: Linh Tran}
      - {at: 5m30s, undo: Linh Tran}
    until: 15m
    expect: |
      0m    page     Linh Tran
      5m    resolved Linh Tran
      5m30s update   Linh Tran
      5m30s page     Linh Tran
      12m   reminder Linh Tran
      15m   reminder Linh Tran
      15m   page     Marek Novak
""",
        "utf-8",
    )
    assert main(["test", str(path), "--config.file", str(EXAMPLE)]) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tests: []", "there is no test in it"),
        ("tests: [{name: a, happens: [{at: 0m}], expect: ''}]", "give exactly one of fires"),
        ("tests: [{name: a, happens: [{at: 0m, fires: {a: b}, resolve: x}], expect: ''}]", "give exactly one of"),
        ("tests: [{name: a, happens: [], expect: '', start: soon}]", "start: invalid time 'soon'"),
        ("tests: [{name: a, happens: [], expekt: ''}]", "unknown key"),
        ("tests: [{name: a, happens: [{at: soon, fires: {}}], expect: ''}]", "invalid duration"),
    ],
)
def test_a_mistake_in_a_test_is_named(tmp_path: Path, text: str, says: str, capsys: Capture) -> None:
    path = tmp_path / "test.yml"
    path.write_text(text, "utf-8")
    assert main(["test", str(path), "--config.file", str(EXAMPLE)]) == 1
    errors = capsys.readouterr().err
    assert f"{path}:1: " in errors
    assert says in errors


def test_check_names_a_gap_of_the_coming_month(tmp_path: Path, capsys: Capture) -> None:
    assert main(["check", "--config.file", str(scheduled(tmp_path))]) == 0
    assert "1 schedule without a gap for 30 days" in capsys.readouterr().out
    text = SCHEDULES.replace("rotation: weekly}", 'rotation: weekly, hours: "09:00-21:00"}')
    assert main(["check", "--config.file", str(scheduled(tmp_path, text))]) == 1
    errors = capsys.readouterr().err
    assert "roles.on-call-engineer: nobody is on call from " in errors
    assert "or the next step is taken at once" in errors


def test_check_counts_the_schedules_that_it_has_examined(tmp_path: Path, capsys: Capture) -> None:
    night = """  night:
    time_zone: UTC
    layers: [{people: [linh], start: 2026-11-02, hours: "09:00-21:00"}]
roles:
"""
    assert main(["check", "--config.file", str(scheduled(tmp_path, SCHEDULES.replace("roles:\n", night, 1)))]) == 0
    shown = capsys.readouterr()
    assert "1 of 2 schedules without a gap" in shown.out
    assert "schedules.night: nobody is on call from " in shown.err
    assert "schedules.night: holds no role" in shown.err


def test_check_looks_as_far_as_it_is_asked_to(tmp_path: Path, capsys: Capture) -> None:
    end = (now() + timedelta(days=200)).date()
    text = SCHEDULES.replace("rotation: weekly}", f"rotation: weekly, end: {end}}}")
    command = ["check", "--config.file", str(scheduled(tmp_path, text))]
    assert main(command) == 0
    assert main([*command, "--days", "400"]) == 1
    assert f"from {end - timedelta(days=1)} 17:00 " in capsys.readouterr().err  # midnight in Ho Chi Minh City
    assert main([*command, "--days", "0"]) == 1


def test_check_names_who_is_never_on_call(tmp_path: Path, capsys: Capture) -> None:
    people = "[linh, marek, aisha, peter, [linh, peter], aisha, marek]"
    layer = f"      - {{people: {people}, start: 2026-11-02, rotation: daily, days: [mon, tue], handover: '00:00'}}\n"
    text = SCHEDULES.replace("    overrides:\n", f"{layer}    overrides:\n")
    text = text.replace("people: [linh, marek], start", "people: [linh], start")
    assert main(["check", "--config.file", str(scheduled(tmp_path, text))]) == 0
    assert "never on call: aisha, peter" in capsys.readouterr().err


def test_check_reads_calendars(tmp_path: Path, capsys: Capture) -> None:
    text = SCHEDULES.replace("    layers:\n", "    calendar: {file: oncall.ics}\n    layers:\n")
    command = ["check", "--config.file", str(scheduled(tmp_path, text))]
    assert main(command) == 0
    assert "schedules.engineers.calendar: cannot be read" in capsys.readouterr().err
    entry = "BEGIN:VEVENT\r\nSUMMARY:Petra\r\nDTSTART:20260101T000000Z\r\nDTEND:20300101T000000Z\r\nEND:VEVENT\r\n"
    calendar = tmp_path / "oncall.ics"
    calendar.write_text(f"BEGIN:VCALENDAR\r\n{entry}END:VCALENDAR\r\n", "utf-8")
    assert main(command) == 0
    assert "Petra: unknown_person" in capsys.readouterr().err
    many = "".join(entry.replace("Petra", f"Petra {number}") for number in range(30))
    calendar.write_text(f"BEGIN:VCALENDAR\r\n{many}END:VCALENDAR\r\n", "utf-8")
    assert main(command) == 0
    err = capsys.readouterr().err
    assert (err.count("unknown_person"), "10 more" in err) == (20, True)


def test_schedule_shows_who_holds_a_role(tmp_path: Path, capsys: Capture) -> None:
    text = SCHEDULES.replace("on-call-engineer: [engineers]", "on-call-engineer: [engineers, peter]")
    command = ["schedule", "--config.file", str(scheduled(tmp_path, text)), "--at=2026-11-23T03:00", "--days=10"]
    assert main(command) == 0
    assert "Role on-call-engineer (engineers, peter; UTC)" in capsys.readouterr().out
    assert main([*command, "--role", "on-call-engineer"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "Mon 23 Nov 05:00 Mon 23 Nov 06:00 1h Aisha Bello, Peter Schmidt" in lines
    assert not any(line.startswith("Schedule ") for line in lines)
    assert main([*command, "--role", "cfo"]) == 1
    assert "there is no role 'cfo'" in capsys.readouterr().err
    assert main([*command, "--role", "on-call-engineer", "--format=ics"]) == 0
    assert "Peter Schmidt" in capsys.readouterr().out


def test_check_renders_the_templates_of_the_folder(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "message.txt").write_text("{{ nothing }}", "utf-8")
    (folder / "message.html").write_text("{{ 1 / 0 }}", "utf-8")
    (folder / "bundle.html").write_text("{{ rows.nothing }}", "utf-8")
    (folder / "mesage.html").write_text("x", "utf-8")
    path = edited(tmp_path, "roles:\n", "templates: {dir: templates}\nroles:\n")
    assert main(["check", "--config.file", str(path)]) == 1
    errors = capsys.readouterr().err
    assert "message.txt:1: 'nothing' is undefined (in a sample)" in errors
    assert "message.html:1: division by zero (in a sample)" in errors
    assert "bundle.html:1: " in errors
    assert "Traceback" not in errors
    assert "mesage.html: no message uses it" in errors


def test_schedule_shows_who_is_on_call(tmp_path: Path, capsys: Capture) -> None:
    command = ["schedule", "--config.file", str(scheduled(tmp_path)), "--at=2026-11-23T03:00", "--days=10"]
    assert main(command) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "On call at Mon 2026-11-23 03:00 UTC"
    assert "on-call-engineer Marek Novak" in lines
    assert "Mon 23 Nov 12:00 Mon 23 Nov 13:00 1h Aisha Bello" in lines
    assert all(len(line) <= 80 for line in lines)
    assert main([*command, "--format=ics", "--schedule=engineers"]) == 0
    assert capsys.readouterr().out.startswith("BEGIN:VCALENDAR")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--schedule=nobody"], "there is no schedule 'nobody'; there are engineers"),
        (["--days=0"], "--days: write 1 to 366"),
        (["--at=soon"], "--at 'soon' is no time"),
    ],
)
def test_a_wrong_question_about_schedules(tmp_path: Path, options: list[str], says: str, capsys: Capture) -> None:
    assert main(["schedule", "--config.file", str(scheduled(tmp_path)), *options]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["page", "acknowledged", "resolved", "update", "reminder", "bundle"])
@pytest.mark.parametrize("form", ["text", "html", "subject", "headline", "slack"])
def test_preview_shows_every_kind_in_every_form(kind: str, form: str, capsys: Capture) -> None:
    assert main(["preview", "--kind", kind, "--format", form]) == 0
    assert "HighErrorRate" in capsys.readouterr().out


def test_a_priority_on_the_command_line_is_read_in_any_case(capsys: Capture) -> None:
    assert main(["preview", "--priority", "p2", "--format", "subject"]) == 0
    assert capsys.readouterr().out.startswith("[P2]")


def test_preview_of_a_broken_template_says_so(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "message.txt").write_text("{{ nothing }}", "utf-8")
    assert main(["preview", "--templates.dir", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "UndefinedError" in shown.out
    assert shown.err == f"receiver: {tmp_path}/message.txt:1: 'nothing' is undefined; the built-in template was used\n"


def test_help_lists_the_commands(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name in ("check", "drill", "explain", "preview", "report", "schedule", "test"):
        assert f"\n  {name}" in text


def test_check_with_secrets_opens_those_of_the_channels(tmp_path: Path, capsys: Capture) -> None:
    path = edited(tmp_path, "roles:\n", "roles:\n")
    for name in re.findall(r"secrets/[\w-]+", path.read_text("utf-8")):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name + "x" * 40, "utf-8")
        file.chmod(0o600)
    assert main(["check", "--secrets", "--config.file", str(path)]) == 0
    (tmp_path / "secrets/slack-bot-token").write_text("", "utf-8")
    capsys.readouterr()
    assert main(["check", "--secrets", "--config.file", str(path)]) == 1
    assert "channels.slack.token_file" in capsys.readouterr().err


def checked(path: Path, capsys: Capture, *options: str) -> tuple[int, list[str]]:
    """Exit status, and grade and key of each line."""
    status = main(["check", "--config.file", str(path), *options])
    lines = capsys.readouterr().err.replace(f"{path}:", "").splitlines()
    return status, [re.sub(r"^(\w+): (?:\d+: )?([^:]+): .*", r"\1 \2", line) for line in lines]


ASKED, FAR = "alertmanager:\n  url: http://localhost:9093", "alertmanager:\n  url: http://am.example.com"
TOKENS = "webhook:\n  token_file: secrets/webhook-token"


def with_secrets(folder: Path, *edits: tuple[str, str]) -> Path:
    path = edited(folder, "roles:\n", "roles:\n")
    for name in re.findall(r"secrets/[\w-]+", path.read_text("utf-8")):
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name + "x" * 40, "utf-8")
        file.chmod(0o600)
    text = path.read_text("utf-8")
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("edits", "keys"),
    [
        ([], []),
        ([("token_file: secrets/webhook-token", "token: 0123456789abcde")], ["error webhook.token"]),
        ([("token_file: secrets/webhook-token", "token: 0123456789abcdef")], []),
        ([("secrets/api-token", "secrets/webhook-token")], ["error api.token"]),
        ([("secret_file: secrets/link-secret", f"secret: {'a' * 31}")], ["error links.secret"]),
        ([("tls: starttls", "tls: none")], ["error channels.email.tls"]),
        ([("tls: starttls", "tls: none"), ("host: smtp.heypeteracademy.com", "host: localhost")], []),
        # What we send to others: not what opens our own doors, and not unencrypted.
        ([(ASKED, f"{ASKED}\n  token_file: secrets/webhook-token")], ["error alertmanager.token"]),
        ([(ASKED, f"{FAR}\n  token_file: secrets/slack-bot-token")], ["warning alertmanager.url"]),
        ([(ASKED, f"{FAR}\n  basic_auth: {{username: a, password: b}}")], ["warning alertmanager.url"]),
        ([(ASKED, f"{FAR.replace('http:', 'https:')}\n  token_file: secrets/slack-bot-token")], []),
        ([("0m,  P1: on-call-engineer, ", '0m,  P1: "-", ')], ["error escalation_matrix"]),
        ([("after: 0m, ", "after: 1m, ")], ["error escalation_matrix"]),
        (
            [
                ("token_file: secrets/webhook-token", "token: a"),
                ("after: 0m, ", "after: 1m, "),
                ("tls: starttls", "tls: none"),
            ],
            ["error webhook.token", "error channels.email.tls", "error escalation_matrix"],
        ),
        # Nobody else reaches an installation whose own address is this machine.
        (
            [
                ("https://oncall.heypeteracademy.com", "http://127.0.0.1:9095"),
                ("token_file: secrets/api-token", "token: a"),
            ],
            ["warning api.token"],
        ),
    ],
)
def test_check_refuses_what_is_unsafe(
    tmp_path: Path, edits: list[tuple[str, str]], keys: list[str], capsys: Capture
) -> None:
    for options in ([], ["--secrets"]):
        status, lines = checked(with_secrets(tmp_path, *edits), capsys, *options)
        assert (status, lines) == (int(any(key.startswith("error") for key in keys)), keys)


def test_check_refuses_a_secret_that_all_may_read(tmp_path: Path, capsys: Capture) -> None:
    path = with_secrets(tmp_path)
    (tmp_path / "secrets/slack-bot-token").chmod(0o644)
    assert checked(path, capsys) == (1, ["error channels.slack.token_file"])
    (tmp_path / "secrets/slack-bot-token").chmod(0o640)
    assert checked(path, capsys) == (0, [])
    (tmp_path / "secrets/..data").mkdir()  # Kubernetes mounts Secrets so, and with 0644 unless told otherwise
    (tmp_path / "secrets/slack-bot-token").chmod(0o644)
    assert checked(path, capsys) == (0, ["warning channels.slack.token_file"])


def test_check_refuses_a_secret_in_a_settings_file_that_all_may_read(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_secrets(tmp_path, ("token_file: secrets/api-token", "token: 0123456789abcdef"))
    path.chmod(0o644)
    assert checked(path, capsys) == (1, ["error api.token"])
    path.chmod(0o640)
    assert checked(path, capsys) == (0, [])
    monkeypatch.setenv("API_TOKEN", "0123456789abcdef")
    path.write_text(path.read_text("utf-8").replace("token: 0123456789abcdef", "token: ${API_TOKEN}"), "utf-8")
    path.chmod(0o644)
    assert checked(path, capsys) == (0, [])


def test_a_receiver_on_a_corrupt_database_ends_with_one_line_that_says_how_to_go_on(
    tmp_path: Path, capsys: Capture
) -> None:
    database = tmp_path / "receiver.sqlite3"
    database.write_bytes(b"\xff" * 8192)
    path = with_secrets(tmp_path, ("database: /var/lib/heypeter/receiver.sqlite3", f"database: {database}"))
    assert main(["--config.file", str(path)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "corrupt" in line]
    assert line.startswith(f"receiver: {database}: ")


def test_check_shows_errors_of_all_kinds_at_once(tmp_path: Path, capsys: Capture) -> None:
    path = with_secrets(
        tmp_path,
        ("token_file: secrets/webhook-token", "token: a"),
        ("P1: tech-lead, ", "P1: teck-lead, "),
        ("{name: Linh Tran, ", "{name: Linh Tran, time_zone: Mars/Phobos,"),
        ("{name: Marek Novak, ", "{name: Marek Novak, language: xx,"),
        ("retention: {keep: 365d,", "retention: {keep: 1d,"),
    )
    status, lines = checked(path, capsys, "--secrets")
    assert status == 1
    assert {line.removeprefix("error ") for line in lines} == {
        *("webhook.token", "escalation_matrix[1].P1", "people.linh.time_zone", "people.marek.language"),
        "retention.keep",
    }


@pytest.mark.parametrize(
    "start", ["2026-01-05T03:00:00+00:00", "'2026-01-05T03:00'", "2026-01-05 03:00:00", "2026-01-05T04:00:00+01:00"]
)
def test_a_policy_test_may_start_at_an_unquoted_time(tmp_path: Path, start: str, capsys: Capture) -> None:
    path = edited(tmp_path, "after: 60m,", "after: 60m, only: early,")
    text = path.read_text("utf-8") + 'hours: {early: {hours: "03:00-03:01", days: [tue]}}\n'
    path.write_text(text, "utf-8")
    tests = tmp_path / "tests.yml"
    tests.write_text(
        f"""tests:
  - name: a P4 waits for Tuesday
    start: {start}
    happens: [{{at: 0m, fires: {{alertname: A, severity: none, team: backend}}}}]
    until: 25h
    expect: 1d page Linh Tran
""",
        "utf-8",
    )
    status = main(["test", "--config.file", str(path), str(tests)])
    assert status == 0, capsys.readouterr().err


def test_a_site_with_a_fifth_priority_explains_and_tests_it(tmp_path: Path, capsys: Capture) -> None:
    path = edited(tmp_path, "P4: on-call-engineer}", "P4: on-call-engineer, P5: tech-lead}")
    text = path.read_text("utf-8").replace(", P4: 24h}", ", P4: 24h, P5: 3d}")
    path.write_text(text, "utf-8")
    assert main(["explain", "--config.file", str(path), "priority=p5", "team=backend", "--format=json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert next((row["after"], row["who"]) for row in rows if row["kind"] == "page" and row["role"]) == (
        "1h",
        "Marek Novak",
    )
    tests = tmp_path / "tests.yml"
    tests.write_text(
        """tests:
  - name: a P5 goes to the tech lead
    happens:
      - {at: 0m, fires: {alertname: A, priority: P5, team: backend}}
    until: 61m
    expect: |
      1h page Marek Novak
""",
        "utf-8",
    )
    status = main(["test", "--config.file", str(path), str(tests)])
    assert status == 0, capsys.readouterr().err


def test_a_date_alone_is_midnight(tmp_path: Path) -> None:
    tests = tmp_path / "tests.yml"
    tests.write_text("tests: [{name: a, start: 2026-01-05, happens: [], expect: ''}]", "utf-8")
    assert main(["test", "--config.file", str(EXAMPLE), str(tests)]) == 0


def senders(folder: Path) -> Path:
    """The example with the sections of docs/senders.md."""
    blocks = re.findall(r"```yaml\n(.*?)```", Path("docs/senders.md").read_text("utf-8"), re.DOTALL)
    return edited(folder, "# heartbeats:", f"{blocks[0]}\n{blocks[1]}\n# heartbeats:")


def test_the_examples_of_the_page_about_senders_pass_as_tests(tmp_path: Path, capsys: Capture) -> None:
    page = Path("docs/senders.md").read_text("utf-8")
    tests = tmp_path / "test.yml"
    tests.write_text(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[2], "utf-8")
    assert main(["test", str(tests), "--config.file", str(senders(tmp_path))]) == 0
    tests.write_text(tests.read_text("utf-8").replace("1d1h", "1d2h"), "utf-8")
    assert main(["test", str(tests), "--config.file", str(senders(tmp_path))]) == 1
    assert "+1d1h page Linh Tran" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        ("{at: 0m, beats: nobody}", "unknown heartbeat 'nobody'"),
        ("{at: 0m, webhook: nobody}", "unknown webhook 'nobody'"),
        ("{at: 0m, webhook: uptime, body: {}}", "happens[0].body: would be answered 400: generic_webhooks.uptime.key"),
    ],
)
def test_a_policy_test_that_sends_what_is_refused_is_an_error(
    tmp_path: Path, happens: str, says: str, capsys: Capture
) -> None:
    tests = tmp_path / "test.yml"
    tests.write_text(f"tests: [{{name: t, happens: [{happens}], expect: ''}}]", "utf-8")
    assert main(["test", str(tests), "--config.file", str(senders(tmp_path))]) == 1
    assert says in capsys.readouterr().err


def test_explain_says_who_is_told_of_a_missed_heartbeat(tmp_path: Path, capsys: Capture) -> None:
    command = ["explain", "--config.file", str(senders(tmp_path)), "--format=json", "--heartbeat"]
    assert main([*command, "nightly-backup"]) == 0
    shown = json.loads(capsys.readouterr().out)
    expected = {"alertname": "HeartbeatMissed", "heartbeat": "nightly-backup", "team": "database", "priority": "P2"}
    assert shown["labels"] == {**expected, "service": "shop"}
    assert {row["address"] for row in shown["rows"]} >= {"linh@heypeteracademy.com", "#alerts-database"}
    assert main([*command, "nobody"]) == 1


def test_explain_says_what_a_body_would_do(tmp_path: Path, capsys: Capture) -> None:
    body = tmp_path / "body.json"
    command = ["explain", "--config.file", str(senders(tmp_path)), "--webhook=uptime", f"--body={body}"]
    body.write_text('{"monitor": {"id": 7, "name": "shop"}, "heartbeat": {"status": 0, "msg": "timeout"}}', "utf-8")
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "title: shop is down" in shown
    assert "Linh Tran" in shown
    body.write_text(body.read_text("utf-8").replace(": 0", ": 1"), "utf-8")
    assert main(command) == 0
    assert "Linh Tran" not in capsys.readouterr().out
    body.write_text('{"monitor": {}}', "utf-8")
    assert main(command) == 1
    assert "generic_webhooks.uptime.key: " in capsys.readouterr().err
    assert main(command[:-1]) == 1


def test_nothing_that_a_body_says_drives_the_terminal(tmp_path: Path, capsys: Capture) -> None:
    body = tmp_path / "body.json"
    name = "\x1b[2J\x1b]0;x\x07shop\n\u202e"
    body.write_text(json.dumps({"heartbeat": {"status": 0, "msg": name}, "monitor": {"id": 7, "name": name}}), "utf-8")
    assert main(["explain", "--config.file", str(senders(tmp_path)), "--webhook=uptime", f"--body={body}"]) == 0
    shown = capsys.readouterr().out
    assert "shop" in shown
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
