"""`python -m receiver init`: a first receiver.yml from an alertmanager.yml and its rules."""

import argparse
import asyncio
import secrets
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from process.addresses import is_http
from process.settings import SettingsError, Source
from process.yaml_text import TextLoader
from receiver.cli.command import Command
from receiver.cli.explain import rows
from receiver.cli.tables import table
from receiver.clients.http_api import ApiError, open_session
from receiver.clients.prometheus import Prometheus
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.init import rule_files
from receiver.init.alertmanager_file import AlertmanagerFile, read, walk
from receiver.init.document import NAME, WATCHDOG, block, document, silent, wrapped
from receiver.init.places import BEATS, Places, sends_here
from receiver.init.reach import Sure, matches, may_miss, reached
from receiver.init.rule_files import Rule
from receiver.init.written_once import Outcome, write_new
from receiver.policy.explain import explain
from receiver.policy.routing import Routing

_SECRETS = ("webhook-token", "api-token", "link-secret")
_ORDER = {"yes": 0, "depends": 1, "no": 2}


class _Row(NamedTuple):
    """One alert rule."""

    alert: str
    priority: str
    team: str
    told: str
    also: str
    nobody: str  # would it reach nobody: yes, no or depends


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "--alertmanager.config.file", dest="alertmanager", type=Path, required=True, help="alertmanager.yml"
    )
    parser.add_argument(
        "--rules", type=Path, action="append", default=[], metavar="PATH", help="a folder of rule files, or one; repeat"
    )
    parser.add_argument("--prometheus.url", dest="prometheus", default="", help="ask Prometheus for its rules")
    parser.add_argument("--alertmanager.url", dest="url", default="http://localhost:9093", help="Alertmanager's API")
    parser.add_argument(
        "--receiver.url", dest="receiver", default="http://localhost:9095", help="where Alertmanager reaches us"
    )
    parser.add_argument(
        "--external.url", dest="external", default="https://oncall.example.com", help="our URL in messages"
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to write; here otherwise")


def run(options: argparse.Namespace, now: datetime) -> int:
    """0 if receiver.yml is there and can be used; 1 with a line for everything that is in the way."""
    _check_urls(options)
    problems: list[str] = []
    file = read(Source(options.alertmanager, TextLoader))
    rules = _rules(options, problems)
    has_watchdog = any(rule.name == "Watchdog" for rule in rules)
    applied = any(sends_here(receiver) for receiver in file.receivers.values())
    for name in {NAME, WATCHDOG} & file.receivers.keys() if not applied else ():
        raise SettingsError(f"{options.alertmanager}: the receiver {name!r} sends elsewhere; rename it: we add one")
    places = Places(file, options.alertmanager.resolve().parent)
    text = _document(options, file, places, rules)
    path = options.out / "receiver.yml"
    try:
        if not write_config(path, text):
            return 1
        tokens = [write_new(options.out / "secrets" / name, f"{secrets.token_hex(32)}\n", 0o600) for name in _SECRETS]
        if not applied:
            token = (options.out / "secrets/webhook-token").resolve()
            url = options.receiver.rstrip("/")
            _say(
                options.out / "alertmanager.block.yml",
                block(file, url=url, token_file=token, has_watchdog=has_watchdog),
            )
    except OSError as error:
        raise SettingsError(f"cannot write to {options.out} ({error.strerror})") from error
    if Outcome.WRITTEN in tokens:
        print(f"{options.out / 'secrets'}: {', '.join(_SECRETS)} written")
    if applied:
        print(f"{options.alertmanager}: sends to the receiver already; no block is needed")
    _print_remarks(file, places, rules, problems)
    print()
    print(_table(path, file, rules, now, has_watchdog=has_watchdog, applied=applied))
    return 0


def _check_urls(options: argparse.Namespace) -> None:
    for flag in ("prometheus", "url", "receiver", "external"):
        url = getattr(options, flag)
        if url and not is_http(url):
            raise SettingsError(f"invalid URL {url!r} (expected e.g. http://localhost:9090)")


def _rules(options: argparse.Namespace, problems: list[str]) -> list[Rule]:
    """Read the rules from files and from Prometheus, each alert once a set of labels."""
    found = [rule for path in rule_files.files(options.rules) for rule in rule_files.read(path, problems)]
    if options.prometheus:
        found += asyncio.run(_asked(options.prometheus))
    return list({(rule.name, *sorted(rule.labels.items()), *rule.templated): rule for rule in found}.values())


async def _asked(url: str) -> list[Rule]:
    async with open_session() as session:
        try:
            known = await Prometheus(session, url).alerting_rules()
        except ApiError as error:
            raise SettingsError(f"--prometheus.url: {error}") from error
    return [rule_files.rule(one.name, one.labels, one.file) for one in known]


def _document(options: argparse.Namespace, file: AlertmanagerFile, places: Places, rules: Iterable[Rule]) -> str:
    urls = {"url": options.url} | ({"prometheus_url": options.prometheus} if options.prometheus else {})
    severities = [rule.labels["severity"] for rule in rules if rule.labels.get("severity")]
    name = options.alertmanager.name
    return document(file, places, severities, name=name, external_url=options.external, urls=urls)


def write_config(path: Path, text: str) -> bool:
    """Write receiver.yml, if `check` would take it; else beside it, with what is wrong."""
    if path.exists():
        same = path.read_bytes() == text.encode()
        print(f"{path}: {Outcome.UNCHANGED if same else Outcome.KEPT}")
        return True
    rejected = path.with_name(f"{path.name}.rejected")
    path.parent.mkdir(parents=True, exist_ok=True)
    rejected.write_text(text, "utf-8")
    try:
        build_routing(*load(rejected))
    except SettingsError as error:
        for line in error.lines:
            print(f"error: {line}", file=sys.stderr)
        return False
    rejected.unlink(missing_ok=True)  # a second run beside this one may have done it
    print(f"{path}: {write_new(path, text)}")
    return True


def _say(path: Path, text: str) -> None:
    print(f"{path}: {write_new(path, text)}")


def _print_remarks(file: AlertmanagerFile, places: Places, rules: Iterable[Rule], problems: list[str]) -> None:
    lines = [*problems, *file.remarks, *places.remarks]
    lines += [
        f"route {node.at.lstrip('.')}: receiver {node.receiver!r} tells nobody, so we are not told either"
        for node in silent(file)
    ]
    for rule in rules:
        names = ", ".join(name for name in rule.templated if name in {"severity", "priority", "team"})
        if names:
            lines.append(f"{rule.place}: {rule.name}: a template sets {names}: only the alert itself will tell")
    for line in lines:
        print(f"note: {line}")
    for line in dict.fromkeys((*places.to_fill, "people.oncall: the people on call (docs/oncall.md)")):
        print(f"to fill: {line}")


def _table(
    path: Path, file: AlertmanagerFile, rules: list[Rule], now: datetime, *, has_watchdog: bool, applied: bool
) -> str:
    """Say of each rule who would hear of it, by the receiver.yml that is there now."""
    if not rules:
        return "no alert rules: name them by --rules or --prometheus.url to see who would hear of each"
    config, source = load(path)
    routing = build_routing(config, source)
    root = file.root if applied else wrapped(file, has_watchdog=has_watchdog)
    nodes = {node.at: node.receiver for node in walk(root)}
    ours = {NAME, *(name for name, receiver in file.receivers.items() if sends_here(receiver))}
    watchdogs = {WATCHDOG, *(name for name, receiver in file.receivers.items() if sends_here(receiver, BEATS))}
    listed = []
    for rule in rules:
        told = [(nodes[at], sure) for at, sure in reached(root, rule.known).items()]
        reach = max((sure for name, sure in told if name in ours), default=Sure.NO)
        if reach is not Sure.NO:
            reach = Sure.MAYBE if may_miss(root, rule.known, ours | watchdogs) else Sure.YES
        quiet = {name for name, receiver in file.receivers.items() if receiver.is_silent}
        also = [(name, sure) for name, sure in told if name not in ours | quiet]
        if reach is Sure.NO and any(sure is Sure.YES and name in watchdogs for name, sure in told):
            listed.append(_Row(rule.name, "", "", "its absence is a P1", _names(also), "no"))
        else:
            listed.append(_row(rule, routing, now, reach, _names(also)))
    listed.sort(key=lambda row: (_ORDER[row.nobody], row.alert))
    head = ("alert", "priority", "team", "is told when", "Alertmanager tells", "nobody?")
    counts = ", ".join(f"{sum(row.nobody == word for row in listed)} {word}" for word in _ORDER)
    note = "?: labels that only the alert itself has may change it. Labels of series are unknown here."
    return f"{table(head, listed, 120)}\n\n{len(listed)} alert rules; reach nobody: {counts}\n{note}"


def _names(told: Iterable[tuple[str, Sure]]) -> str:
    return ", ".join(dict.fromkeys(name if sure is Sure.YES else f"{name}?" for name, sure in told))


def _row(rule: Rule, routing: Routing, now: datetime, reach: Sure, also: str) -> _Row:
    if reach is Sure.NO:
        return _Row(rule.name, "", "", "", also, "yes")
    priority, unclear = routing.priority(rule.known)
    story = explain(routing, rule.known, now)
    told = rows(story, now, routing.directory.name)
    by_time: dict[str, dict[str, None]] = {}
    for one in told:
        if one.kind == "page":
            by_time.setdefault(one.after, {})[one.who if one.role else one.address] = None
    when = "; ".join(f"{after} {', '.join(names)}" for after, names in by_time.items())
    nobody = "yes" if not by_time else "no" if reach is Sure.YES else "depends"
    doubt = unclear is not None or {"severity", "priority"} & set(rule.templated)
    return _Row(
        rule.name,
        f"{priority.value}?" if doubt else priority.value,
        _team(rule, routing),
        when,
        also,
        nobody,
    )


def _team(rule: Rule, routing: Routing) -> str:
    team, _ = routing.team(rule.known)
    if rule.labels.get("team") == team:
        return team
    unsure = "team" in rule.templated
    for one in routing.team_rules:
        match = matches(one.matchers, rule.known)
        unsure = unsure or match is Sure.MAYBE
        if match is Sure.YES:
            break
    return f"{team}?" if unsure else team


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
