"""`receiver init`: a first receiver.yml and the block for alertmanager.yml, and who would hear of each alert rule."""

import asyncio
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from process.settings import Source
from process.yaml_text import TextLoader
from receiver.__main__ import main
from receiver.cli.init import write_config
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.config.sources import AlertmanagerSource
from receiver.init import rule_files
from receiver.init.alertmanager_file import Node, read, walk, written
from receiver.init.document import NAME, wrapped
from receiver.init.reach import Sure, may_miss, reached
from receiver.policy.matcher import Matcher, parse
from receiver.policy.routing import Routing
from tests.examples import EXAMPLES

DATA = Path("tests/receiver/init/data")
AMTOOL = Path(".stack/bin/amtool")
Capture = pytest.CaptureFixture[str]


def init(out: Path, *more: str, alertmanager: Path = DATA / "alertmanager.yml") -> int:
    rules = ("--rules", str(DATA / "rules"))
    return main(["init", "--alertmanager.config.file", str(alertmanager), *rules, "--out", str(out), *more])


def edited(folder: Path, old: str, new: str) -> Path:
    text = (DATA / "alertmanager.yml").read_text("utf-8")
    assert old in text
    path = folder / "alertmanager.yml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


def table(shown: str) -> dict[str, list[str]]:
    """The rows by their alert, as columns."""
    lines = shown[shown.index("alert  ") :].splitlines()
    starts = [match.start() for match in re.finditer(r"(?<!\S)\S+(?: \S+)*(?=  |$)", lines[0])]
    cells = [[line[a:b].strip() for a, b in itertools.pairwise([*starts, None])] for line in lines[1:] if line.strip()]
    return {row[0]: row[1:] for row in cells if len(row) == 6}


def routing_of(folder: Path) -> Routing:
    return build_routing(*load(folder / "receiver.yml"))


def test_the_file_that_is_written_is_taken_and_says_what_alertmanager_said(tmp_path: Path, capsys: Capture) -> None:
    assert init(tmp_path) == 0
    assert main(["check", "--config.file", str(tmp_path / "receiver.yml")]) == 0
    routing = routing_of(tmp_path)
    places = {team: {c.channel: c.address for c in contacts} for team, contacts in routing.teams.items()}
    assert places == {
        "default": {"email": "ops@example.net,second@example.net"},
        "db-pager": {"pagerduty": "db-pager"},
        "db-team": {"slack": "#databases"},
        "shop": {"slack": "#shop", "pagerduty": "shop"},
    }
    assert [one.contacts[0].address for one in routing.routes] == ["#audit"]
    config, _ = load(tmp_path / "receiver.yml")
    assert config.severities["page"] == "P1"
    assert config.external_url == "https://oncall.example.com"
    assert config.people["oncall"].email == ["ops@example.net", "second@example.net"]


@pytest.mark.parametrize(
    ("labels", "team"),
    [
        ({"service": "postgres", "severity": "critical", "cluster": "prod"}, "db-pager"),
        ({"service": "postgres", "severity": "critical", "cluster": "test"}, "db-team"),
        ({"service": "redis"}, "db-team"),
        ({"service": "redis2"}, "default"),
        ({"team": "shop", "severity": "info", "x": "y"}, "shop"),  # the label names a team
        ({}, "default"),
    ],
)
def test_the_team_is_the_leaf_that_alertmanager_finds(tmp_path: Path, labels: dict[str, str], team: str) -> None:
    assert init(tmp_path) == 0
    assert routing_of(tmp_path).team(labels)[0] == team


def test_each_rule_has_a_row_and_those_that_reach_nobody_come_first(tmp_path: Path, capsys: Capture) -> None:
    assert init(tmp_path) == 0
    shown = table(capsys.readouterr().out)
    assert next(iter(shown)) == "InfoInhibitor"
    assert shown["InfoInhibitor"][-1] == "yes"
    assert shown["Watchdog"][-1] == "no"
    assert shown["PostgresDown"][:2] == ["P1", "db-pager"]
    assert shown["PostgresDown"][2].startswith("0m On call, db-pager")
    assert shown["PostgresDown"][3:] == ["audit?, db-pager", "no"]
    assert shown["ShopSlow"][:2] == ["P1", "shop"]
    assert shown["ShopNews"][:2] == ["P3", "shop"]
    assert shown["DiskFull"][:2] == ["P2", "default?"]
    assert shown["Odd"][0] == "P2?"
    assert shown["PodCrashLooping"][:2] == ["P2", "db-team"]


def test_running_it_twice_changes_nothing_and_an_edited_file_is_kept(tmp_path: Path, capsys: Capture) -> None:
    assert init(tmp_path) == 0
    first = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in first} == {
        *("receiver.yml", "alertmanager.block.yml", "webhook-token", "api-token", "link-secret"),
    }
    assert init(tmp_path) == 0
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first} == first
    assert len(list(tmp_path.rglob("*"))) == len(first) + 1
    (tmp_path / "receiver.yml").write_text((tmp_path / "receiver.yml").read_text("utf-8") + "# mine\n", "utf-8")
    assert init(tmp_path) == 0
    assert (tmp_path / "receiver.yml").read_text("utf-8").endswith("# mine\n")
    assert "left as it is" in capsys.readouterr().out


def test_no_secret_of_alertmanager_is_copied_or_shown(tmp_path: Path, capsys: Capture) -> None:
    assert init(tmp_path) == 0
    shown = capsys.readouterr()
    texts = [shown.out, shown.err, *(path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file())]
    assert not [text for text in texts if "planted" in text]
    assert "to fill: secrets/pagerduty-db-pager" in shown.out
    config = yaml.safe_load((tmp_path / "receiver.yml").read_text("utf-8"))
    assert config["channels"]["slack"]["webhooks"]["#databases"] == {"url_file": "/etc/alertmanager/slack-url"}
    assert config["channels"]["slack"]["webhooks"]["#shop"] == {"url_file": "secrets/slack-shop"}
    shop = config["channels"]["pagerduty"]["services"]["shop"]["routing_key_file"]
    assert Path(shop) == DATA.resolve() / "keys/shop"
    assert all((tmp_path / "secrets" / name).stat().st_mode & 0o077 == 0 for name in ("webhook-token", "api-token"))


@pytest.mark.parametrize(
    "says",
    [
        r"alertmanager\.yml:7: templates: ",
        r"route\.routes\[1\]\.continue: ",
        r"route\.routes\[1\]\.match: deprecated",
        r"route\.routes\[2\]\.match_re: deprecated",
        r"route\.routes\[3\]\.mute_time_intervals: ",
        r"receiver 'db-team': telegram_configs not taken over",
        r"receiver 'db-team': 1 more of slack_configs not taken over",
        r"route\.routes\[0\]: receiver 'null' tells nobody",
        r"Odd: a template sets severity",
    ],
)
def test_what_cannot_be_taken_over_is_a_line_each(tmp_path: Path, says: str, capsys: Capture) -> None:
    assert init(tmp_path) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len([line for line in lines if re.search(says, line)]) == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("receiver: shop\n", "receiver: shopp\n", r"unknown receiver 'shopp'"),
        ("[team=shop]", "['team=~\"(\"']", r"routes\[3\]\.matchers\[0\]: invalid matcher"),
        ("[team=shop]", "['team shop']", r"routes\[3\]\.matchers\[0\]: invalid matcher"),
        ("route:\n", "rout:\n", "missing; this is no alertmanager.yml"),
        ("  group_wait: 30s\n", "  group_wait: 30s\n  continue: true\n", "the root takes neither"),
        ("  receiver: ops-mail\n", "  receivr: ops-mail\n", "has no receiver"),
        ("receivers:\n", "receivers: [\n", "invalid YAML"),
    ],
)
def test_what_alertmanager_would_refuse_is_refused_and_nothing_is_written(
    tmp_path: Path, old: str, new: str, says: str, capsys: Capture
) -> None:
    out = tmp_path / "out"
    assert init(out, alertmanager=edited(tmp_path, old, new)) == 1
    errors = capsys.readouterr().err
    assert re.search(says, errors)
    assert "Traceback" not in errors
    assert not out.exists()


def test_what_check_would_refuse_is_set_aside_and_named(tmp_path: Path, capsys: Capture) -> None:
    assert init(tmp_path / "good") == 0
    text = (tmp_path / "good/receiver.yml").read_text("utf-8")
    out = tmp_path / "bad"
    assert not write_config(out / "receiver.yml", text.replace("on-call: [oncall]", "on-call: [nobody]"))
    assert re.search(r"receiver\.yml\.rejected:\d+: roles\.on-call: unknown person", capsys.readouterr().err)
    assert [path.name for path in out.rglob("*")] == ["receiver.yml.rejected"]
    assert write_config(out / "receiver.yml", text)
    assert [path.name for path in out.rglob("*")] == ["receiver.yml"]


def test_a_folder_with_broken_rules_names_them_and_goes_on(tmp_path: Path, capsys: Capture) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(DATA / "rules", rules)
    (rules / "helm.yml").write_text("groups:\n{{- if .Values.x }}\n", "utf-8")
    assert init(tmp_path / "out", "--rules", str(rules)) == 0
    shown = capsys.readouterr().out
    assert "helm.yml:3: cannot be read as YAML" in shown
    assert "PostgresDown" in shown


@pytest.mark.parametrize(
    ("old", "new", "tls"),
    [
        ("  smtp_auth_username: alerts\n", "  smtp_require_tls: false\n", "none"),
        ("  smtp_auth_username: alerts\n", "  smtp_require_tls: true\n", "starttls"),
        ("  smtp_from:", "  smtp_require_tls: false\n  smtp_from:", "starttls"),  # no password in plain text
        ("mail.example.net:587\n", "localhost:587\n  smtp_require_tls: false\n", "none"),
        ("mail.example.net:587\n", "mail.example.net:465\n  smtp_require_tls: false\n", "implicit"),
    ],
)
def test_mail_goes_over_the_kind_of_connection_that_alertmanager_uses(
    tmp_path: Path, old: str, new: str, tls: str
) -> None:
    assert init(tmp_path / "out", alertmanager=edited(tmp_path, old, new)) == 0
    channel = yaml.safe_load((tmp_path / "out/receiver.yml").read_text("utf-8"))["channels"]["email"]
    assert channel.get("tls", "starttls") == tls


def test_what_is_read_is_written_alike() -> None:
    for matcher in (Matcher("a", "=~", 'b|"c"\\.d'), Matcher("my label", "!=", "ü,{}"), Matcher("a", "=", "")):
        assert parse(written(matcher)) == matcher


# The same labels against Alertmanager's own tool.

LABELS = [
    {
        name: value
        for name, value in zip(("alertname", "service", "severity", "cluster", "team", "audit"), values, strict=True)
        if value
    }
    for values in itertools.product(
        *(
            ("Watchdog", "X"),
            ("postgres", "redis2", ""),
            ("critical", "info"),
            ("test", "prod"),
            ("shop", ""),
            ("true", ""),
        )
    )
]


def applied(folder: Path, alertmanager: Path = DATA / "alertmanager.yml") -> Path:
    """The old file with the block put in."""
    old: dict[str, Any] = yaml.safe_load(alertmanager.read_text("utf-8"))
    new = yaml.safe_load((folder / "alertmanager.block.yml").read_text("utf-8"))
    old["route"], old["receivers"] = new["route"], old["receivers"] + new["receivers"]
    path = folder / "applied.yml"
    path.write_text(yaml.safe_dump(old, sort_keys=False), "utf-8")
    return path


def amtool(path: Path, labels: dict[str, str]) -> list[str]:
    pairs = [f"{name}={json.dumps(value)}" for name, value in labels.items()]
    command = [str(AMTOOL), "config", "routes", "test", f"--config.file={path}", *pairs]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(",")


@pytest.mark.stack
def test_with_the_block_everybody_is_told_as_before_and_the_receiver_as_well(tmp_path: Path) -> None:
    assert init(tmp_path) == 0
    path = applied(tmp_path)
    subprocess.run([str(AMTOOL), "check-config", str(path)], check=True, capture_output=True)
    for labels in LABELS[::3]:
        before, after = amtool(DATA / "alertmanager.yml", labels), amtool(path, labels)
        first = "heypeter-watchdog" if labels["alertname"] == "Watchdog" else "heypeter-receiver"
        assert after == [first, *before], labels


@pytest.mark.stack
def test_a_second_run_on_the_applied_file_needs_no_block(tmp_path: Path, capsys: Capture) -> None:
    assert init(tmp_path) == 0
    rows = table(capsys.readouterr().out)
    assert init(tmp_path, alertmanager=applied(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "no block is needed" in shown
    assert {name: row[-1] for name, row in table(shown).items()} == {name: row[-1] for name, row in rows.items()}


@pytest.mark.stack
def test_the_routes_that_are_found_are_those_of_amtool() -> None:
    file = read(Source(DATA / "alertmanager.yml", TextLoader))
    nodes = {node.at: node.receiver for node in walk(file.root)}
    for labels in LABELS[1::5]:
        every = {"service": "", "team": "", "audit": "", **labels}  # all labels that a matcher asks for are known
        found = reached(file.root, every)
        assert set(found.values()) == {Sure.YES}
        assert [nodes[at] for at in found] == amtool(DATA / "alertmanager.yml", labels)
        for label in labels:
            some = reached(file.root, {name: value for name, value in every.items() if name != label})
            assert found.keys() <= some.keys()


# Trees at random, against Alertmanager's own tool and our own routing.

VALUES = {"a": ("x", "y", ""), "b": ("x", "y", ""), "c": ("x", "")}
MATCHERS = st.builds(
    lambda label, op, value: f"{label}{op}{json.dumps(value)}",
    st.sampled_from(sorted(VALUES)),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.sampled_from(["x", "y", "", "x|y", ".+"]),
)
ROUTE = {
    "receiver": st.sampled_from(["p", "q", "r", "quiet"]),
    "matchers": st.lists(MATCHERS, max_size=2),
    "continue": st.sampled_from([False, False, True]),
}
ROUTES = st.recursive(
    st.fixed_dictionaries(ROUTE),
    lambda inner: st.fixed_dictionaries({**ROUTE, "routes": st.lists(inner, max_size=3)}),
    max_leaves=6,
)


def random_file(routes: list[dict[str, Any]], folder: Path) -> Path:
    receivers = [{"name": name, "email_configs": [{"to": f"{name}@example.com"}]} for name in "pqr"] + [
        {"name": "quiet"}
    ]
    smtp = {"smtp_smarthost": "mail.example.com:25", "smtp_from": "a@example.com"}
    path = folder / "random.yml"
    whole = {"global": smtp, "route": {"receiver": "p", "routes": routes}, "receivers": receivers}
    path.write_text(yaml.safe_dump(whole, sort_keys=False), "utf-8")
    return path


FULL = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()})


@settings(
    max_examples=3 * EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(routes=st.lists(ROUTES, min_size=1, max_size=4), labels=FULL)
@example(  # a route that tells somebody behind two that tell nobody and go on
    routes=[
        {"receiver": "quiet", "matchers": [], "continue": True},
        {"receiver": "quiet", "matchers": [], "continue": True},
        {"receiver": "p", "matchers": [], "continue": False},
    ],
    labels={"a": "x", "b": "", "c": ""},
)
def test_an_alert_that_alertmanager_tells_somebody_is_told_us(
    tmp_path: Path, routes: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    file = read(Source(random_file(routes, tmp_path), TextLoader))
    told = {node.at: node.receiver for node in walk(file.root)}
    mine = wrapped(file, has_watchdog=False)
    names = {node.at: node.receiver for node in walk(mine)}
    somebody = any(told[at] != "quiet" for at in reached(file.root, labels))
    assert any(names[at] == NAME for at in reached(mine, labels)) == somebody


@pytest.mark.stack
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    routes=st.lists(ROUTES, min_size=1, max_size=4),
    labels=FULL,
)
def test_random_trees_tell_us_if_anybody_and_choose_the_team_that_alertmanager_tells(
    tmp_path: Path, routes: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    path, out = random_file(routes, tmp_path), tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    assert init(out, alertmanager=path) == 0
    there = {name: value for name, value in labels.items() if value}
    before, after = amtool(path, there), amtool(applied(out, path), there)
    assert after[len(after) - len(before) :] == before
    told = [name for name in before if name != "quiet"]
    assert ("heypeter-receiver" in after) == bool(told)
    file = read(Source(path, TextLoader))
    nodes = {node.at: node.receiver for node in walk(file.root)}
    assert [nodes[at] for at in reached(file.root, labels)] == before
    if len(before) == 1 and told and "continue: true" not in path.read_text("utf-8"):
        assert routing_of(out).team(labels)[0] == ("default" if told == ["p"] else told[0])


async def test_prometheus_is_asked_for_its_rules(tmp_path: Path, capsys: Capture) -> None:
    rule = {
        "name": "FromTheApi",
        "query": "up == 0",
        "type": "alerting",
        "labels": {"severity": "critical", "service": "redis"},
    }
    group = {"name": "g", "file": "g.yml", "interval": 15, "rules": [rule, {"name": "r", "type": "recording"}]}

    async def rules(_request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"groups": [group]}})

    app = web.Application()
    app.add_routes([web.get("/api/v1/rules", rules)])
    command = ["init", "--alertmanager.config.file", str(DATA / "alertmanager.yml"), "--out", str(tmp_path)]
    async with TestServer(app) as server:
        url = f"http://127.0.0.1:{server.port}"
        assert await asyncio.to_thread(main, [*command, "--prometheus.url", url]) == 0
    assert table(capsys.readouterr().out)["FromTheApi"][:2] == ["P1", "db-pager?"]
    assert load(tmp_path / "receiver.yml")[0].alertmanager == AlertmanagerSource(
        url="http://localhost:9093", prometheus_url=url, receivers=["heypeter-receiver"]
    )
    assert await asyncio.to_thread(main, [*command, "--prometheus.url", url]) == 1  # it is down by now
    assert "--prometheus.url: " in capsys.readouterr().err


def test_a_receiver_that_is_called_default_keeps_its_places(tmp_path: Path) -> None:
    text = (DATA / "alertmanager.yml").read_text("utf-8").replace("receiver: shop", "receiver: default")
    path = tmp_path / "alertmanager.yml"
    path.write_text(text.replace("name: shop", "name: default"), "utf-8")
    assert init(tmp_path, alertmanager=path) == 0
    routing = routing_of(tmp_path)
    assert [one.channel for one in routing.teams["default"]] == ["email"]
    assert routing.team({"team": "shop"})[0] == "default (2)"
    assert {one.channel for one in routing.teams["default (2)"]} == {"slack", "pagerduty"}


def written_as(folder: Path, text: str) -> Path:
    path = folder / "alertmanager.yml"
    path.write_text(text, "utf-8")
    return path


MAIL = "email_configs: [{to: 'a@example.com'}]"


def test_words_that_yaml_takes_for_other_values_are_names_as_for_alertmanager(tmp_path: Path, capsys: Capture) -> None:
    routes = "[{receiver: off, continue: yes, match: {page: on, n: 010, b: true}, mute_time_intervals: [no]}]"
    receivers = f"[{{name: 1, {MAIL}}}, {{name: off, {MAIL.replace('a@', 'off@')}}}]"
    path = written_as(tmp_path, f"route: {{receiver: 1, group_wait: 1:30, routes: {routes}}}\nreceivers: {receivers}\n")
    assert init(tmp_path, alertmanager=path) == 0
    routing = routing_of(tmp_path)
    assert {(m.label, m.value) for m in routing.routes[0].matchers} == {("page", "on"), ("n", "010"), ("b", "true")}
    assert [one.address for one in routing.routes[0].contacts] == ["off@example.com"]
    block = yaml.safe_load((tmp_path / "alertmanager.block.yml").read_text("utf-8"))
    old = block["route"]["routes"][-1]
    assert old["receiver"] == "1"
    assert old["group_wait"] == "1:30"
    assert old["routes"][0]["receiver"] == "off"
    assert old["routes"][0]["continue"] is True
    assert old["routes"][0]["mute_time_intervals"] == ["no"]
    assert capsys.readouterr().err == ""


def test_labels_of_rules_are_the_texts_that_prometheus_reads(tmp_path: Path, capsys: Capture) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    labels = "{severity: page, loud: true, since: 2026-13-01, n: 010, none: ~, broken: [1]}"
    (rules / "a.yml").write_text(f"groups: [{{rules: [{{alert: A, labels: {labels}}}, {{alert: [x]}}]}}]\n", "utf-8")
    (rules / "deep.yml").write_text("[" * 300_000, "utf-8")
    problems = list[str]()
    (rule,) = [one for path in rule_files.files([rules]) for one in rule_files.read(path, problems)]
    assert rule.labels == {"severity": "page", "loud": "true", "since": "2026-13-01", "n": "010", "none": ""}
    assert problems == [f"{rules / 'deep.yml'}:1: cannot be read as YAML; its rules are left out"]
    assert (
        main(
            [
                "init",
                "--alertmanager.config.file",
                str(DATA / "alertmanager.yml"),
                "--rules",
                str(rules),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    assert "A" in table(capsys.readouterr().out)


def test_three_receivers_that_want_one_key_have_three_teams(tmp_path: Path) -> None:
    names = ("root", "default", "default (2)")
    receivers = [f"{{name: {name}, {MAIL.replace('a@', f'x{number}@')}}}" for number, name in enumerate(names)]
    routes = "[{receiver: default, matchers: [a=b]}, {receiver: default (2), matchers: [a=c]}]"
    path = written_as(tmp_path, f"route: {{receiver: root, routes: {routes}}}\nreceivers: [{', '.join(receivers)}]\n")
    assert init(tmp_path, alertmanager=path) == 0
    routing = routing_of(tmp_path)
    addresses = [routing.teams[routing.team({"a": value})[0]][0].address for value in "bcd"]
    assert addresses == ["x1@example.com", "x2@example.com", "x0@example.com"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            f"route: {{receiver: a}}\nreceivers: [{{name: a, {MAIL}}}, {{name: a}}]",
            ":2: receivers[1].name: 'a' is there twice",
        ),
        (f"route: {{receiver: {NAME}}}\nreceivers: [{{name: {NAME}, {MAIL}}}]", "sends elsewhere; rename it"),
        (
            f"route: &r {{receiver: a, routes: [*r]}}\nreceivers: [{{name: a, {MAIL}}}]",
            ":1: invalid YAML: the alias 'r'",
        ),
        (
            f"route: {{receiver: a, routes: [{{matchers: ['{{a=\"b}}']}}]}}\nreceivers: [{{name: a, {MAIL}}}]",
            ":1: route.routes[0].matchers[0]: invalid matcher",
        ),
        ("route: {receiver: a, routes: [{matchers: {a: b}}]}\nreceivers: [{name: a}]", "matchers: expected a list"),
        ("route: {receiver: a, routes: {a: b}}\nreceivers: [{name: a}]", ":1: route.routes: expected a list"),
    ],
)
def test_what_alertmanager_cannot_mean_is_one_clear_line(tmp_path: Path, text: str, says: str, capsys: Capture) -> None:
    assert init(tmp_path / "out", alertmanager=written_as(tmp_path, text)) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert says in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "a: 1", "route: []", "route: {receiver: a, routes: [1, null]}\nreceivers: 3"]
)
def test_a_file_of_another_shape_is_one_clear_line(tmp_path: Path, text: str, capsys: Capture) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(text, "utf-8")
    assert init(tmp_path / "out", alertmanager=path) == 1
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert "alertmanager.yml:1: route" in errors


def test_what_each_of_two_unsure_routes_leads_to_is_sure(tmp_path: Path, capsys: Capture) -> None:
    """The site's own file: by which of its routes an alert comes depends on its team, and both lead to the receiver."""
    rules = tmp_path / "rules.yml"
    rules.write_text(
        'groups: [{rules: [{alert: Slow, labels: {team: "{{ $labels.team }}", severity: warning}}]}]', "utf-8"
    )
    site = [
        "init",
        "--alertmanager.config.file=deploy/config/alertmanager.yml",
        f"--rules={rules}",
        f"--out={tmp_path}",
    ]
    assert main(site) == 0
    assert table(capsys.readouterr().out)["Slow"][-1] == "no"
    source = load(tmp_path / "receiver.yml")[0].alertmanager
    assert source is not None
    assert source.receivers == ["receiver"]
    assert "watchdog" not in routing_of(tmp_path).teams


def node(receiver: str, matcher: str = "", *children: Node, goes_on: bool = False) -> Node:
    return Node("", receiver, (parse(matcher),) if matcher else (), goes_on, children)


@pytest.mark.parametrize(
    ("tree", "misses"),
    [
        (node("us"), False),
        (node("other"), True),
        (node("us", "", node("other", 'x="1"')), True),
        (node("us", "", node("other", 'x="1"', goes_on=True)), True),  # it is the only one that has it
        (node("other", "", node("other", 'x="1"', goes_on=True), node("us")), False),
        (node("other", "", node("us", 'x="1"'), node("us", 'y="1"')), True),
        (node("other", "", node("us", 'x="1"'), node("us")), False),
        (node("us", "", node("other", 'a="1"'), node("us", 'a="2"')), False),  # `a` is known to be 2
        (node("other", "", node("other", 'a="2"', node("us"))), False),
    ],
)
def test_whether_an_alert_may_miss_us(tree: Node, misses: bool) -> None:
    assert may_miss(tree, {"a": "2"}, {"us"}) is misses
