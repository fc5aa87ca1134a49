"""receiver.yml: the shipped examples load, and each mistake is named with file, line and fix."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from process.settings import SettingsError
from receiver.config.build import build_routing
from receiver.config.load import load, missing_secret_files
from receiver.incident.model import Step
from tests.receiver.example_site import P1, P2, P3, P4, P5

EXAMPLE = Path("tests/receiver/receiver.yml")  # not deploy/config/receiver.yml, which is for others to edit


def edited(folder: Path, old: str, new: str) -> Path:
    text = EXAMPLE.read_text("utf-8")
    assert text.count(old) >= 1, f"the example does not hold {old!r} any more"
    path = folder / "receiver.yml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


@pytest.mark.parametrize("path", sorted(Path("deploy").glob("**/receiver*.yml")), ids=str)
def test_every_example_loads(path: Path) -> None:
    if "kubernetes" not in path.parts and "test" not in path.stem:
        config, _ = load(path)
        assert config.escalation_matrix


def test_secret_files_are_listed_with_the_place_that_names_them() -> None:
    config, _ = load(EXAMPLE)
    named = dict(missing_secret_files(config))
    assert named[".channels.slack.token_file"] == EXAMPLE.parent / "secrets/slack-bot-token"
    assert named[".channels.email.password_file"].name == "smtp-password"


def test_secret_files_in_lists_are_listed_as_well(tmp_path: Path) -> None:
    source = "alertmanagers: [{name: eu, basic_auth: {username: u, password_file: am}}, {name: us, token_file: t}]"
    config, _ = load(edited(tmp_path, "catch_up_dwell: 5m", source))
    named = [at for at, _ in missing_secret_files(config) if at.startswith(".alertmanagers")]
    assert sorted(named) == [".alertmanagers[0].basic_auth.password_file", ".alertmanagers[1].token_file"]


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("valid_for: 7d", "valid_four: 7d", "valid_four", "links.valid_four: unknown key"),
        ("valid_for: 7d", "valid_for: 7 days", "valid_for", "invalid duration '7 days'"),
        ("P1: 15m,", "P1: 900,", "response_times", "response_times.P1: invalid duration 900"),
        (", P4: 24h}", "}", "response_times", "P4 is missing"),
        ("P1: tech-lead, ", "P1: teck-lead, ", "after: 15m", "P1: unknown role 'teck-lead'"),
        ("P4: on-call-engineer}", 'P4: "-"}', "escalation_matrix:", "column P4"),
        ("{after: 15m,", "{after: 0m,", "P1: tech-lead", "after: rows must"),
        ("cto: [peter]", "cto: []", "cto: []", "roles.cto: no people"),
        ("cto: [peter]", "cto: [petra]", "cto: [petra]", "roles.cto: unknown"),
        ("cto: [peter]\n", "cto: [peter]\n  cto: [linh]\n", "cto: [linh]", "duplicate key"),
        ("warning: P2 ", "warning: P0 ", "warning: P0", "severities.warning: invalid value 'P0' (expected P1,"),
        ("pagerduty: leads}", "pagerduty: lead}", "marek:", "no service 'lead'"),
        ("{name: Aisha Bello,", "{nom: Aisha Bello,", "aisha:", "people.aisha.nom: unknown key"),
        ("email: linh@heypeteracademy.com", "email: linh", "linh:", "linh.email: invalid address"),
        ('default:        {slack: "#alerts"}', "others: {}", "teams:", "teams: the team `default`"),
        ("mode: events", "mode: rest", "pagerduty:", "mode rest needs `from`"),
        ("tls: starttls", "tls: ssl", "tls: ssl", "channels.email.tls: invalid value 'ssl' (expected starttls,"),
        ("external_url: https://", "external_url: ", "external_url", "external_url: invalid URL"),
        ("port: 587", "timeout: 2m", "timeout: 2m", "channels.email.timeout: invalid timeout"),
        (
            "    from: alerts@heypeteracademy.com\n\n",
            "    from: alerts\n\n",
            "from: alerts",
            "channels.email.from: invalid address",
        ),
        *(
            ("token_file: secrets/slack-bot-token", slack, line, says)
            for slack, line, says in (
                ("token: t\n    socket_mode: {}", "socket_mode", "slack.socket_mode: needs app_token_file"),
                ("webhooks: {a: {url: u}}\n    socket_mode: {app_token: t}", "socket_mode", "needs token_file, too"),
                ("token: t\n    interactive: true", "slack:", "need signing_secret_file"),
            )
        ),
        ("port: 587", "port: 70000", "port: 70000", "channels.email.port"),
        ("roles:\n", "roles: [\n", "tech-lead: [marek]", "invalid YAML"),
        *(
            ("catch_up_dwell: 5m", f"heartbeats: {{backup: {{every: 1d, {key}}}}}", "heartbeats:", f"backup.{says}")
            for key, says in (
                ("grace: soon", "grace: invalid duration"),
                ("team: nobody", "team: unknown team 'nobody'"),
                ("priority: P5", "priority: no column for 'P5'"),
                ("runbook: wiki", "runbook: invalid URL"),
            )
        ),
        ("catch_up_dwell: 5m", "heartbeats: {backup: {every: 1s}}", "heartbeats:", "backup.every: too short"),
        ("catch_up_dwell: 5m", "heartbeats: {a/b: {every: 1d}}", "heartbeats:", "a/b"),
        *(
            (
                "catch_up_dwell: 5m",
                f"generic_webhooks: {{uptime: {{key: id, status: status, title: {title}}}}}",
                "generic_webhooks:",
                says,
            )
            for title, says in (
                ("a..b", "uptime.title: invalid JMESPath"),
                ("what(a)", "uptime.title: unknown JMESPath"),
            )
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, at: str, says: str) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert says in str(caught.value)
    name, number, _ = str(caught.value).split(":", 2)
    assert name == str(path)
    assert at in path.read_text("utf-8").splitlines()[int(number) - 1]


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*none\.yml: "):
        load(tmp_path / "none.yml")


def test_a_secret_in_the_file_is_never_shown(tmp_path: Path) -> None:
    path = edited(tmp_path, "token_file: secrets/webhook-token", "token: hunter2")
    config, _ = load(path)
    assert "hunter2" not in repr(config)
    path.write_text(path.read_text("utf-8").replace("token: hunter2", "token: [hunter2]"), "utf-8")
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert "hunter2" not in str(caught.value)


def test_a_secret_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = edited(tmp_path, "token_file: secrets/webhook-token", "token: ${HOOK_TOKEN}")
    with pytest.raises(SettingsError, match="the environment variable HOOK_TOKEN is not set"):
        load(path)
    monkeypatch.setenv("HOOK_TOKEN", "hunter2")
    config, _ = load(path)
    assert config.webhook.token is not None
    assert config.webhook.token.reveal() == "hunter2"


def broken(folder: Path, *edits: tuple[str, str]) -> list[str]:
    path = edited(folder, *edits[0])
    for old, new in edits[1:]:
        text = path.read_text("utf-8")
        assert text.count(old) >= 1, old
        path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(SettingsError) as caught:
        load(path)
    return [line.removeprefix(f"{path}:").split(" ", 1)[1] for line in caught.value.lines]


def test_all_unknown_keys_wrong_types_and_missing_keys_are_shown_at_once(tmp_path: Path) -> None:
    lines = broken(
        tmp_path,
        ("valid_for: 7d", "valid_four: 7d"),
        ("external_url: https://oncall.heypeteracademy.com", "external_ur: x"),
        ("port: 587", "port: many"),
        ("tls: starttls", "tls: ssl"),
        ("warning: P2 ", "warning: P0 "),
        ("{P1: 15m,", "{P9: 15m,"),
        ("name: Linh Tran,    ", "name: 5,"),
        ("roles:\n  on-call-engineer: [linh]", "roles:\n  on-call-engineer: linh"),
        ("grouping_window: 10s", "grouping_window: 10"),
    )
    text = "\n".join(lines)
    assert not [word for word in ("enum", "Object", "`object`", "`array`", "`str`", "`int`", "$.") if word in text]
    for start in (
        "links.valid_four: unknown key; did you mean 'valid_for'?",
        "external_ur: unknown key; did you mean 'external_url'?",
        "external_url: missing; add it",
        "channels.email.port: is text (expected a whole number)",
        "channels.email.tls: invalid value 'ssl' (expected starttls, implicit or none)",
        "severities.warning: invalid value 'P0' (expected P1, P2, P3, P4 or P5)",
        "response_times.P9: invalid value 'P9' (expected P1, P2, P3, P4 or P5)",
        "people.linh.name: is a whole number (expected text; quote it",
        "roles.on-call-engineer: is text (expected a list)",
        "grouping_window: invalid duration 10 ",
    ):
        assert [line for line in lines if line.startswith(start)], f"{start!r} is not in\n{text}"


TEAM_MATRIX = "escalation_matrix: [{after: 0m, P1: cto, P2: cto, P3: cto, P4: cto"
FIFTH = (
    ("P4: on-call-engineer}", "P4: on-call-engineer, P5: on-call-engineer}"),
    (", P4: 24h}", ", P4: 24h, P5: 3d}"),
)


def test_a_fifth_priority_is_configured_by_its_column(tmp_path: Path) -> None:
    text = EXAMPLE.read_text("utf-8")
    for old, new in (*FIFTH, ("none: P4 ", "none: P5 ")):
        text = text.replace(old, new)
    path = tmp_path / "receiver.yml"
    path.write_text(text, "utf-8")
    routing = build_routing(*load(path))
    assert list(routing.plans) == [P1, P2, P3, P4, P5]
    assert routing.plans[P5].steps == (Step(3600.0, ("on-call-engineer",)),)
    assert routing.plans[P5].response_time == 3 * 86400
    assert list(build_routing(*load(EXAMPLE)).plans) == [P1, P2, P3, P4]


@pytest.mark.parametrize(
    ("edits", "at"),
    [
        ([("none: P4 ", "none: P5 ")], ["severities.none"]),
        ([("unknown_severity: P2", "unknown_severity: P5")], ["unknown_severity"]),
        ([("P2: 2h}", "P2: 2h, P5: 2h}")], ["repeat_last_step.P5"]),
        ([("P2: 4h}", "P2: 4h, P5: 4h}")], ["acknowledge_for.P5"]),
        ([FIFTH[1]], ["response_times.P5"]),
        ([FIFTH[0]], ["response_times"]),
        (
            [(", P4: 24h}", "}"), ("P4: on-call-engineer}", 'P5: "-"}')],
            ["escalation_matrix"] * 2 + ["response_times"] * 2,
        ),
        (
            [("name: Linh Tran, ", "name: Linh Tran, rules: [{channels: [email], priorities: [P1, P5]}], ")],
            ["people.linh.rules[0].priorities[1]"],
        ),
        (
            [('backend:        {slack: "', 'backend:        {severities: {a: P5}, slack: "')],
            ["teams.backend.severities.a"],
        ),
        (
            [
                (
                    "# priority_rules:\n#   - {match: ['alertname=~\"Backup.*\"'], priority: P3}",
                    "priority_rules: [{match: ['a=b'], priority: P5}]",
                )
            ],
            ["priority_rules[0].priority"],
        ),
        (
            [
                (
                    "# services: {checkout: {severities: {warning: P1}}}",
                    "services: {checkout: {severities: {warning: P5}}}",
                )
            ],
            ["services.checkout.severities.warning"],
        ),
        (
            [
                (
                    'backend:        {slack: "',
                    f'backend:        {{{TEAM_MATRIX}, P5: cto}}], slack: "',
                )
            ],
            ["teams.backend.escalation_matrix[0].P5"],
        ),
        (
            [
                *FIFTH,
                (
                    'backend:        {slack: "',
                    'backend:        {escalation_matrix: [{after: 0m, P1: cto, P2: cto, P3: cto, P4: cto}], slack: "',
                ),
            ],
            ["teams.backend.escalation_matrix"],
        ),
        ([("after: 60m, P1: cto,", "after: 60m, P1: ~,")], ["escalation_matrix[3].P1"]),
    ],
)
def test_a_priority_that_the_matrix_lacks_is_refused_wherever_it_is_named(
    tmp_path: Path, edits: list[tuple[str, str]], at: list[str]
) -> None:
    lines = broken(tmp_path, *edits)
    assert [line.split(": ")[0] for line in lines] == at


def test_all_wrong_references_are_shown_at_once(tmp_path: Path) -> None:
    lines = broken(
        tmp_path,
        ("P1: tech-lead, ", "P1: teck-lead, "),
        ("cto: [peter]", "cto: [petra]"),
        ("pagerduty: engineers}", "pagerduty: engineer}"),
        ("email: marek@heypeteracademy.com", "email: marek@@heypeteracademy.com"),
        ("slack: U01AISHA", 'slack: "@aisha"'),
        ("url: http://localhost:9093", "url: localhost:9093"),
        ("prometheus_url: http://localhost:9090", "prometheus_url: //localhost:9090"),
    )
    assert [line.split(": ")[0] for line in lines] == [
        *("escalation_matrix[1].P1", "roles.cto", "people.linh.pagerduty", "people.marek.email"),
        *("people.aisha.slack", "alertmanager.url", "alertmanager.prometheus_url"),
    ]


@pytest.mark.parametrize(
    "address", ["a@@b.com", "a@", "@b.com", "a b@c.com", "<a@b.com>", "a@b.com;c@d.com", "=?q?a@b"]
)
def test_what_is_no_mail_address_is_refused(tmp_path: Path, address: str) -> None:
    lines = broken(tmp_path, ("email: linh@heypeteracademy.com", f"email: {address!r}"))
    assert [line.split(": ")[0] for line in lines] == ["people.linh.email"]


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        *(
            ("host: smtp.heypeteracademy.com", f"host: {host!r}", "channels.email.host")
            for host in ("smtp://smtp.example.com", "smtp.example.com:587", "smtp.example.com ", "", "a\0b", "[::1")
        ),
        *(
            ("https://oncall.heypeteracademy.com", f"https://{url}", "external_url")
            for url in ("linh:hunter2@example.com", "example.com/?a=b", "example.com/#a")
        ),
        ("repeat_last_step: {P1: 30m", "repeat_last_step: {P1: 30s", "repeat_last_step.P1"),
        (
            "  backend:        {",
            "  backend:        {repeat_last_step: {P2: 1ms}, ",
            "teams.backend.repeat_last_step.P2",
        ),
        ("valid_for: 7d", "valid_for: 0s", "links.valid_for"),
    ],
)
def test_what_cannot_work_as_it_is_written_is_refused(tmp_path: Path, old: str, new: str, at: str) -> None:
    (line,) = broken(tmp_path, (old, new))
    assert line.startswith(f"{at}: ")
    assert "hunter2" not in line


@pytest.mark.parametrize("host", ["smtp.example.com", "localhost", "mail_1", "192.0.2.1", "2001:db8::1", "müller.de"])
def test_a_mail_server_is_named_by_its_host(tmp_path: Path, host: str) -> None:
    assert load(edited(tmp_path, "host: smtp.heypeteracademy.com", f"host: {host!r}"))


@pytest.mark.parametrize("address", ["U012AB3CD", "W012AB3CD", "#alerts", "alerts", "C012AB3CD", "#störung"])
def test_what_slack_knows_is_accepted(tmp_path: Path, address: str) -> None:
    assert load(edited(tmp_path, "slack: U01LINH", f"slack: {address!r}"))


@pytest.mark.parametrize(
    "address",
    ["@linh", "linh@example.com", "#a b", "##x", "<!channel>", "linh.tran", "https://x.example/y", "a\0b"],
)
def test_what_slack_does_not_know_is_refused(tmp_path: Path, address: str) -> None:
    lines = broken(tmp_path, ("slack: U01LINH", f"slack: {address!r}"))
    assert [line.split(": ")[0] for line in lines] == ["people.linh.slack"]


@pytest.mark.parametrize(("first", "second", "valid"), [("office", "", True), ("", "office", True), ("", "", False)])
def test_rows_share_a_time_if_they_are_for_different_hours(
    tmp_path: Path, first: str, second: str, valid: bool
) -> None:
    old = '  - {after: 0m,  P1: on-call-engineer,    P2: on-call-engineer,    P3: "-",              P4: "-"}'
    rows = [old.replace("}", f", only: {only}}}" if only else "}") for only in (first, second)]
    office = '\nhours:\n  office: {time_zone: UTC, hours: "09:00-18:00"}\n'
    path = edited(tmp_path, old, "\n".join(rows))
    path.write_text(path.read_text("utf-8") + office, "utf-8")
    if valid:
        load(path)
        return
    with pytest.raises(SettingsError, match="may share it"):
        load(path)


@pytest.mark.parametrize(
    ("handovers", "says"),
    [
        ({"on-call-engineer": {}}, "nobody gets it"),
        ({"nobody": {}}, "unknown role 'nobody'"),
        ({"on-call-engineer": {"channels": ["pagerduty"]}}, "channel 'pagerduty' cannot carry a summary"),
        ({"on-call-engineer": {"slack": "nowhere at all"}}, "handovers.on-call-engineer.slack"),
    ],
)
def test_a_handover_that_could_not_be_sent_is_refused(tmp_path: Path, handovers: dict[str, Any], says: str) -> None:
    settings = yaml.safe_load(EXAMPLE.read_text("utf-8")) | {"handovers": handovers}
    path = tmp_path / "receiver.yml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    with pytest.raises(SettingsError, match=says):
        load(path)


@pytest.mark.parametrize(
    ("charts", "says"),
    [({"length": "1m"}, "from 10m to 7d"), ({"length": "8d"}, "from 10m to 7d"), ({"deployments": "sum("}, "PromQL")],
)
def test_charts_that_could_not_be_drawn_are_refused(tmp_path: Path, charts: dict[str, Any], says: str) -> None:
    settings = yaml.safe_load(EXAMPLE.read_text("utf-8")) | {"charts": charts}
    path = tmp_path / "receiver.yml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    with pytest.raises(SettingsError, match=says):
        load(path)
