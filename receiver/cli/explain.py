"""`python -m receiver explain`: labels in, out comes who is told, when, on which channel and why."""

import argparse
import json
import sys
import textwrap
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from process.settings import SettingsError
from receiver.cli.command import Command
from receiver.cli.instant import instant
from receiver.cli.stored_duty import with_stored_duty
from receiver.cli.tables import plain, table
from receiver.config.build import build_routing
from receiver.config.generic import GenericWebhook
from receiver.config.heartbeats import jobs
from receiver.config.load import Config, load
from receiver.incident.heartbeat import Beat, Job, missed
from receiver.incident.model import Alert, EntryKind
from receiver.init import rule_files
from receiver.messages.i18n import Reader
from receiver.messages.timeline import entry_text, news
from receiver.policy.explain import explain
from receiver.policy.simulate import Story, span
from receiver.web.alertmanager_payload import PayloadError
from receiver.web.generic_payload import parse

NameOf = Callable[[str], str]  # the key of a person -> the name to show

_NOTABLE = {
    *(EntryKind.SEVERITY_MISSING, EntryKind.SEVERITY_UNKNOWN, EntryKind.PRIORITY_UNKNOWN, EntryKind.PRIORITY_KEPT),
    *(EntryKind.TEAM_MISSING, EntryKind.TEAM_UNKNOWN, EntryKind.TEAMS_MIXED),
    *(EntryKind.NOBODY, EntryKind.RECORDED, EntryKind.PAUSED),
}
_ENGLISH = Reader()


class Row(msgspec.Struct, frozen=True):
    """One line of the answer."""

    after: str
    at: datetime
    kind: str
    who: str
    role: str
    channel: str
    address: str
    why: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("labels", nargs="*", metavar="LABEL=VALUE", help="the alert's labels, as severity=critical")
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--alert", help="take the labels of this alert from the rule files")
    parser.add_argument("--heartbeat", metavar="JOB", help="the job of `heartbeats` is missed")
    parser.add_argument("--webhook", metavar="NAME", help="this webhook of `generic_webhooks` gets the --body")
    parser.add_argument("--body", type=Path, metavar="FILE", help="a JSON body for --webhook")
    parser.add_argument("--rules.dir", dest="rules", type=Path, default=Path("rules"), help="where the rule files are")
    parser.add_argument(
        "--at", help="when it begins to fire, as 2026-11-23T03:00 (UTC, or with an offset); now otherwise"
    )
    parser.add_argument(
        "--database", type=Path, help="covers and maintenance from here; `database` of receiver.yml, if it is there"
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(options: argparse.Namespace, now: datetime) -> int:
    """Print the answer; SettingsError says what is wrong with the question."""
    config, source = load(options.config)
    start = _moment(options.at, now)
    posted = _posted(options, config, start)
    if posted is not None and options.format == "text":
        print(f"{_mapped(posted, options.webhook)}\n")
    if posted is not None and not posted.firing:
        return 0
    labels = {**(posted.labels if posted else _asked(options, config, start)), **_labels(options.labels)}
    if not labels:
        raise SettingsError("name labels, as alertname=HighErrorRate severity=critical, or --alert HighErrorRate")
    configured = with_stored_duty(build_routing(config, source), options.database, config, source, start)
    story, name_of = explain(configured, labels, start, config.channels.handling), configured.directory.name
    if options.format == "json":
        every = story.incident.plan.repeat_every
        shown = {"labels": labels, "rows": rows(story, start, name_of), "repeat_every_seconds": every}
        print(json.dumps(msgspec.to_builtins(shown), indent=2))
    else:
        print(text(story, labels, start, name_of, width=_width()))
    return 0


def _asked(options: argparse.Namespace, config: Config, start: datetime) -> dict[str, str]:
    """Give the labels of the alert or the job that is named."""
    if not options.heartbeat:
        return alert_labels(options.alert, options.rules) if options.alert else {}
    job = job_of(config, options.heartbeat)
    (alert,) = missed(job, Beat(start - job.patience, missed_at=start), start).group.alerts
    return alert.labels


def job_of(config: Config, name: str) -> Job:
    """Find a job; SettingsError names those that there are."""
    named = jobs(config.heartbeats)
    if name not in named:
        raise SettingsError(f"unknown heartbeat {name!r} (expected {', '.join(named) or 'one of `heartbeats`'})")
    return named[name]


def webhook_of(config: Config, name: str) -> GenericWebhook:
    """Find a generic webhook; SettingsError names those that there are."""
    if name not in config.generic_webhooks:
        known = ", ".join(config.generic_webhooks) or "one of `generic_webhooks`"
        raise SettingsError(f"unknown webhook {name!r} (expected {known})")
    return config.generic_webhooks[name]


def _posted(options: argparse.Namespace, config: Config, start: datetime) -> Alert | None:
    """Read the body of --webhook as the receiver would."""
    if bool(options.webhook) != bool(options.body):
        raise SettingsError("give both --webhook and --body")
    if not options.webhook:
        return None
    try:
        body = options.body.read_bytes()
        (alert,) = parse(options.webhook, webhook_of(config, options.webhook), body, start).alerts
    except OSError as error:
        raise SettingsError(f"cannot read {options.body} ({error.strerror})") from error
    except PayloadError as error:
        raise SettingsError(f"{options.body}: would be answered 400: {error}") from error
    return alert


def _mapped(alert: Alert, name: str) -> str:
    """Say what a body is read as."""
    told = alert.annotations
    lines = [
        ("status", "firing" if alert.firing else "resolved: the incident of this key, if there is one, is resolved"),
        ("title", told.get("summary", "")),
        ("description", told.get("description", "")),
        ("link", alert.generator_url),
        *((f"label {label}", value) for label, value in sorted(alert.labels.items())),
    ]
    shown = "\n".join(f"  {field}: {plain(value)}" for field, value in lines if value)
    return f"generic_webhooks.{name} reads the body as:\n{shown}"


def rows(story: Story, start: datetime, name_of: NameOf) -> list[Row]:
    """Give a line for each notification, in the order of time."""
    explained = []
    for told in story.told:
        target, notification = told.notification.target, told.notification
        explained.append(
            Row(
                after=span(told.at - start),
                at=told.at,
                kind=notification.kind.value,
                who=name_of(target.person) or f"team {story.incident.team}",
                role=target.role,
                channel=target.channel,
                address=target.address,
                why=news(notification, _ENGLISH, told.at) or _why(notification.roles, target.person, target.role),
            )
        )
    return explained


def text(story: Story, labels: dict[str, str], start: datetime, name_of: NameOf, width: int) -> str:
    """Write the answer for a terminal."""
    incident = story.incident
    whose = f"a {incident.priority} of team {incident.team}"
    head = (
        f"An alert with {', '.join(plain(f'{name}={value}') for name, value in labels.items())}, "
        f"firing from {start:%a %Y-%m-%d %H:%M} UTC and answered by nobody, is {whose}:"
    )
    together: dict[tuple[str, ...], list[str]] = {}
    for row in rows(story, start, name_of):
        together.setdefault((row.after, f"{row.at:%a %H:%M}", row.kind, row.who, row.why), []).append(row.channel)
    lines = [(*line[:4], ", ".join(dict.fromkeys(ways)), line[4]) for line, ways in together.items()]
    shown = table(("after", "UTC", "what", "who", "by", "why"), lines, width)
    notes = [f"  {span(e.at - start)}: {plain(entry_text(e, _ENGLISH))}" for e in story.timeline if e.kind in _NOTABLE]
    notes += ["  nobody is told anything"] if not lines else []
    every = incident.plan.repeat_every
    again = [f"Then the last step again every {span(timedelta(seconds=every))} until answered."] if every else []
    written = [head, "", shown, *again, *(["", "Remarks:", *notes] if notes else [])]
    return "\n".join(part if part is shown else _wrapped(part, width) for part in written)


def _wrapped(line: str, width: int) -> str:
    """Break a line at blanks; the width of a terminal is its own business."""
    return "\n".join(textwrap.wrap(line, width, break_on_hyphens=False)) if width else line


def alert_labels(name: str, folder: Path) -> dict[str, str]:
    """Find an alert in the rule files; SettingsError names those that there are."""
    problems = list[str]()
    rules = dict[str, rule_files.Rule]()
    for path in sorted(folder.glob("*.yml")):
        for rule in rule_files.read(path, problems):
            rules.setdefault(rule.name, rule)
    if problems:
        raise SettingsError(*problems)
    if name not in rules:
        known = ", ".join(sorted(rules)) or "none"
        raise SettingsError(f"there is no alert {name!r} in {folder}; there are {known}")
    return rules[name].known


def _why(roles: tuple[str, ...], person: str, role: str) -> str:
    if person:
        return f"holds {role}" if role else "is told"
    return f"follows the step of {' and '.join(roles)}" if roles else "was told before"


def _labels(pairs: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text_ in pairs:
        name, equals, value = text_.partition("=")
        if not (name and equals):
            raise SettingsError(f"{text_!r} is no label; write NAME=VALUE, as severity=critical")
        labels[name] = value.strip('"')
    return labels


def _moment(text: str | None, now: datetime) -> datetime:
    if text is None:
        return now.replace(microsecond=0)
    return instant(text, "--at")


def _width() -> int:
    return 80 if not sys.stdout.isatty() else 0


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
