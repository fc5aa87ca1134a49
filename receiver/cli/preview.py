"""`python -m receiver preview`: what a message looks like, with the built-in templates or those of a folder."""

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from process.settings import SettingsError
from receiver.channels.base import Message
from receiver.channels.slack_blocks import card
from receiver.cli.command import Command
from receiver.incident.model import (
    Alert,
    Clocks,
    Data,
    Delivery,
    Entry,
    EntryKind,
    Holder,
    Incident,
    Kind,
    Notification,
    Origin,
    Pause,
    PauseKind,
    Plan,
    Priority,
    Reason,
    State,
    Step,
    Target,
)
from receiver.messages.digest import render_bundle
from receiver.messages.i18n import Reader, languages
from receiver.messages.render import render
from receiver.messages.templating import NAMES, Failed, Templates

_NOW = datetime(2026, 11, 23, 3, 16, tzinfo=UTC)
_OPENED = _NOW - timedelta(minutes=16)
_LINK = "https://oncall.example.com/answer/preview"
_PAUSE = Pause(
    PauseKind.SILENCE, "8f1c2d3e", "Linh Tran", _NOW + timedelta(hours=1, minutes=44), comment="deploying the fix"
)
_REASONS = {
    Kind.PAGE: (Reason.ESCALATED, Data()),
    Kind.UPDATE: (Reason.PAUSED, Data(pause=_PAUSE)),
    Kind.REMINDER: (Reason.BREACHED, Data(seconds=900.0, priority=Priority.P1)),
}
_MOST_ALERTS = 1000
FORMS = ("text", "html", "subject", "headline", "slack")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--kind", choices=[*(kind.value for kind in Kind), "bundle"], default="page")
    parser.add_argument("--priority", type=str.upper, choices=[priority.value for priority in Priority], default="P1")
    parser.add_argument("--language", choices=languages(), default="en")
    parser.add_argument("--time-zone", dest="zone", default="UTC", help="the reader's, as Asia/Ho_Chi_Minh")
    parser.add_argument("--first", action="store_true", help="the first page, not one of an escalation")
    parser.add_argument("--alerts", type=int, default=1, metavar="N", help="how many alerts fire, 1 to 1000")
    parser.add_argument("--drill", action="store_true", help="an exercise")
    parser.add_argument("--templates.dir", dest="folder", type=Path, help="a folder of templates of your own")
    parser.add_argument("--format", choices=FORMS, default="text")


def run(options: argparse.Namespace) -> int:
    """0, or 1 when a template of the folder failed and the built-in one had to stand in."""
    if options.folder is not None and not options.folder.is_dir():
        raise SettingsError(f"--templates.dir {options.folder}: is no folder")
    failed: list[Failed] = []
    message = sample(options, Templates(options.folder, failed.append))
    html = message.html  # also where something else is shown: a template that fails is to be heard of
    if options.format == "slack":
        shown = _block_kit(message)
    else:
        shown = {
            "text": f"{message.headline}\n\n{message.text}",
            "html": html,
            "subject": message.subject,
            "headline": message.headline,
        }[options.format]
    print(shown)
    for one in dict.fromkeys(failed):
        print(f"receiver: {one}; the built-in template was used", file=sys.stderr)
    return 1 if failed else 0


def _block_kit(message: Message) -> str:
    """Write what app.slack.com/block-kit-builder takes; the colour of the bar is not part of its blocks."""
    attachments = card(message)["attachments"]
    blocks = attachments[0]["blocks"] if isinstance(attachments, list) else []
    return json.dumps({"blocks": blocks}, indent=2, ensure_ascii=False)


def sample(options: argparse.Namespace, templates: Templates) -> Message:
    """Write a message of an incident that is made up."""
    try:
        reader = Reader(options.language, options.zone)
    except (KeyError, ValueError, OSError) as error:
        raise SettingsError(f"--time-zone: invalid time zone {options.zone!r} (expected e.g. Europe/Berlin)") from error
    priority = Priority(options.priority)
    if options.kind == "bundle":
        items = [(_notification(Kind.PAGE), _incident(n, Priority.P2, Kind.PAGE)) for n in range(12, 29)]
        items[3] = (items[3][0], replace(items[3][1], priority=priority))
        return render_bundle(
            items,
            delivery_id="1",
            link_of_all="https://oncall.example.com/answer/digest/x",
            link_of=lambda _i: _LINK,
            now=_NOW,
            reader=reader,
            templates=templates,
        )
    kind = Kind(options.kind)
    incident = replace(_many(_incident(12, priority, kind), options.alerts), drill=options.drill)
    notification, timeline = _notification(kind), _timeline(kind)
    if options.first:
        notification, timeline = replace(notification, round=1, reason=None, data=Data()), timeline[:1]
    return render(
        notification,
        incident,
        timeline,
        delivery_id="1",
        thread="",
        link=_LINK,
        now=_NOW,
        reader=reader,
        templates=templates,
    )


def _many(incident: Incident, count: int) -> Incident:
    """Let as many alerts fire, each on a host of its own."""
    if not 1 <= count <= _MOST_ALERTS:
        raise SettingsError(f"--alerts {count}: write 1 to {_MOST_ALERTS}")
    (one,) = incident.alerts.values()
    hosts = ({**one.labels, "instance": f"app-{number}:3001"} for number in range(12, 12 + count))
    alerts = {str(n): replace(one, fingerprint=str(n), labels=labels) for n, labels in enumerate(hosts, 1)}
    return replace(incident, alerts=alerts)


def problems(folder: Path) -> list[str]:
    """Render every kind with the templates of a folder: what `check` says of them."""
    failed: list[Failed] = []
    for kind in (*(kind.value for kind in Kind), "bundle"):
        settings = {
            "kind": kind,
            "priority": "P1",
            "language": "en",
            "zone": "UTC",
            "drill": kind == "page",
            "first": False,
            "alerts": 1,
        }
        sample(argparse.Namespace(**settings), Templates(folder, failed.append)).write_html()
    strange = [path.name for path in sorted(folder.iterdir()) if path.is_file() and path.name not in NAMES]
    unknown = [f"{folder / name}: no message uses it; the templates are {', '.join(NAMES)}" for name in strange]
    broken = [f"{one} (in a sample)" for one in dict.fromkeys(failed)]
    return broken + unknown


def _notification(kind: Kind) -> Notification:
    target = Target("email", "marek@example.com", "email:marek@example.com", "Marek Novak", "tech-lead")
    reason, data = _REASONS.get(kind, (None, Data()))
    return Notification(kind, target, 2, ("tech-lead",), reason, data, at=_NOW - timedelta(minutes=1))


def _timeline(kind: Kind) -> tuple[Entry, ...]:
    opened = Data(priority=Priority.P1, team="backend", title="HighErrorRate: High error rate detected")
    lines = [
        Entry(_OPENED, EntryKind.OPENED, opened),
        Entry(_OPENED, EntryKind.PAGED, Data(people=(Holder("Linh Tran", "on-call-engineer"),))),
        Entry(_NOW - timedelta(minutes=1), EntryKind.BREACHED, Data(seconds=900.0)),
        Entry(_NOW - timedelta(minutes=1), EntryKind.PAGED, Data(people=(Holder("Marek Novak", "tech-lead"),))),
    ]
    if kind in {Kind.ACKNOWLEDGED, Kind.RESOLVED}:
        lines.append(Entry(_NOW, EntryKind.ACKNOWLEDGED, Data(origin=Origin.SLACK), "Marek Novak"))
    if kind is Kind.RESOLVED:
        lines.append(Entry(_NOW, EntryKind.RESOLVED))
    return tuple(lines)


def _incident(number: int, priority: Priority, kind: Kind) -> Incident:
    state = {Kind.ACKNOWLEDGED: State.ACKNOWLEDGED, Kind.RESOLVED: State.RESOLVED}.get(kind, State.TRIGGERED)
    labels = {"alertname": "HighErrorRate", "severity": "critical", "team": "backend", "instance": f"app-{number}:3001"}
    annotations = {
        "summary": "High error rate detected",
        "description": "12% of the requests fail; more than 5% for 2 minutes.",
        "runbook_url": "https://docs.example.com/runbooks/HighErrorRate",
        "dashboard_url": "https://grafana.example.com/d/overview",
    }
    alert = Alert(
        "1", state is not State.RESOLVED, _OPENED, None, labels, annotations, "https://prometheus.example.com/graph"
    )
    told = (("linh@example.com", "Linh Tran", "on-call-engineer"), ("marek@example.com", "Marek Novak", "tech-lead"))
    steps = (Step(0, ("on-call-engineer",)), Step(900, ("tech-lead",)), Step(1800, ("engineering-manager",)))
    return Incident(
        id=number,
        key="preview",
        state=state,
        priority=priority,
        title="HighErrorRate: High error rate detected",
        team="backend",
        labels=labels,
        alerts={"1": alert},
        opened_at=_OPENED,
        plan=Plan(steps, 900.0),
        next_step=2,
        clocks=Clocks(
            started_at=_OPENED, next_due_at=_OPENED + timedelta(minutes=30) if state is State.TRIGGERED else None
        ),
        delivery=Delivery(
            rounds=2, told=tuple(Target("email", mail, f"email:{mail}", name, role) for mail, name, role in told)
        ),
        acknowledged_at=_NOW if state is not State.TRIGGERED else None,
        acknowledged_by="Marek Novak" if state is not State.TRIGGERED else "",
        resolved_at=_NOW if state is State.RESOLVED else None,
        resolved_by="alerts" if state is State.RESOLVED else "",
    )


COMMAND = Command(add_arguments, lambda options, _clock: run(options))
