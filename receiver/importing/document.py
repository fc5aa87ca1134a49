"""Writes a draft as the text of receiver.yml, and says what is left to fill in. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
import yaml

from receiver.importing.draft import NOBODY, PHONES, Draft, Row, Schedule, Team, duration

_HEAD = """# Imported from {source} on {day}. `heypeter-receiver check --config.file receiver.yml` validates this file.
# docs/import.md says what is left to do; relative paths are relative to this file.

external_url: https://oncall.example.com
database: receiver.sqlite3
webhook: {{token_file: secrets/webhook-token}}
api: {{token_file: secrets/api-token}}
links: {{secret_file: secrets/link-secret}}

severities: {severities}
response_times: {times}
# The source reminds nobody before the response time is over.
response_warning: 0
"""
_SEVERITIES = ("critical", "warning", "info", "none", "debug")
_TIMES = ("15m", "30m", "2h", "24h", "24h")


def document(draft: Draft) -> str:
    """Give the whole file."""
    known = draft.priorities
    head = _HEAD.format(
        source=draft.source,
        day=f"{draft.taken_at:%Y-%m-%d}",
        severities=_flow(dict(zip(_SEVERITIES, known, strict=False))),
        times=_flow(dict(zip(known, _TIMES, strict=False))),
    )
    rows = draft.teams[draft.default_team].rows
    parts = [
        head,
        _list("escalation_matrix", [_row(row, known) for row in rows]),
        _map("roles", {role: [role] for role in roles(draft)}),
        _map("hours", {name: _plain(hours) for name, hours in draft.hours.items()}),
        _map("people", {key: _plain(person) for key, person in draft.people.items()}),
        _schedules(draft.schedules),
        _teams(draft),
        _list("team_rules", [_plain(rule) for rule in draft.team_rules]),
        _list("maintenance", [_plain(window) for window in draft.maintenance]),
        _map("channels", _channels(draft)),
    ]
    return "\n".join(part for part in parts if part)


def roles(draft: Draft) -> list[str]:
    """List the roles: each is held by the person or the schedule of its name."""
    return list(dict.fromkeys(role for team in draft.teams.values() for row in team.rows for role in row.roles))


def to_fill(draft: Draft) -> list[str]:
    """List what no source knows, or gives away."""
    fill = [
        "external_url: the public URL of the receiver",
        "secrets/webhook-token, secrets/api-token, secrets/link-secret: at least 32 random characters each",
        "severities, response_times: the defaults; the source has none",
    ]
    channels = _channels(draft)
    if "email" in channels:
        fill.append("channels.email: the SMTP server and its user; secrets/smtp-password")
    if "slack" in channels:
        fill.append("secrets/slack-bot-token: a bot token of your own Slack app")
    if phones := [f"channels.{name}" for name in PHONES if name in channels]:
        fill.append(f"{', '.join(phones)}: account_sid and from of Twilio; secrets/twilio-auth-token")
    calendars = (schedule.calendar for schedule in draft.schedules.values() if schedule.calendar)
    fill += [f"secrets/{name}: the URL of the calendar, as the source shows it" for name in calendars]
    fill += [f"secrets/{name}: an Apprise URL for {key} (docs/channels.md)" for key, name in _services(draft)]
    return fill


def _schedules(schedules: Mapping[str, Schedule]) -> str:
    parts = []
    for key, schedule in schedules.items():
        lines = [f"  {_flow(key)}:", f"    time_zone: {_flow(schedule.time_zone)}"]
        if schedule.calendar:
            lines.append(f"    calendar: {_flow({'url_file': f'secrets/{schedule.calendar}'})}")
        for name, entries in (("layers", schedule.layers), ("overrides", schedule.overrides)):
            if entries:
                lines += [f"    {name}:", *(f"      - {_flow(_plain(entry))}" for entry in entries)]
        parts.append("\n".join(lines))
    return "schedules:\n" + "\n".join(parts) + "\n" if parts else ""


def _teams(draft: Draft) -> str:
    lines = ["teams:"]
    for key, team in draft.teams.items():
        own = _of_team(team)
        if key == draft.default_team:
            lines.append(f"  default: {_flow(own)}")
        lines.append(f"  {_flow(key)}:" if team.rows else f"  {_flow(key)}: {_flow(own)}")
        if team.rows:
            lines += [f"    {_flow(name)}: {_flow(value)}" for name, value in own.items()]
            lines += ["    escalation_matrix:", *(f"      - {_flow(_row(row, draft.priorities))}" for row in team.rows)]
    return "\n".join(lines) + "\n"


def _of_team(team: Team) -> dict[str, object]:
    own: dict[str, object] = {"slack": team.slack} if team.slack else {}
    if team.acknowledge_for:
        own["acknowledge_for"] = {f"P{n}": duration(team.acknowledge_for) for n in range(1, 5)}
    return own


def _row(row: Row, priorities: Sequence[str]) -> dict[str, object]:
    cell: object = row.roles[0] if len(row.roles) == 1 else list(row.roles)
    cells = {name: NOBODY if name in row.without else cell for name in priorities}
    return {"after": duration(row.after), **cells} | ({"only": row.only} if row.only else {})


def _services(draft: Draft) -> list[tuple[str, str]]:
    """List people whose contacts need an Apprise service of their own, with its name."""
    return [(key, person.contacts["apprise"]) for key, person in draft.people.items() if "apprise" in person.contacts]


def _channels(draft: Draft) -> dict[str, object]:
    people, channels = draft.people.values(), dict[str, object]()
    if any(person.slack for person in people) or any(team.slack for team in draft.teams.values()):
        channels["slack"] = {"token_file": "secrets/slack-bot-token"}
    if any(person.email for person in people):
        channels["email"] = {
            "host": "smtp.example.com",
            "port": 587,
            "tls": "starttls",
            "from": "alerts@example.com",
            "username": "alerts@example.com",
            "password_file": "secrets/smtp-password",
        }
    for name in PHONES:
        if any(name in person.contacts for person in people):
            channels[name] = {
                "account_sid": f"AC{0:032}",
                "auth_token_file": "secrets/twilio-auth-token",
                "from": "+15005550006",  # sends nothing: twilio.com/docs/iam/test-credentials
            }
    services = {name: {"url_file": f"secrets/{name}"} for _, name in _services(draft)}
    if services:
        channels["apprise"] = {"services": services}
    return channels


def _map(name: str, entries: Mapping[str, object]) -> str:
    lines = [f"  {_flow(key)}: {_flow(value)}" for key, value in entries.items()]
    return "\n".join([f"{name}:", *lines]) + "\n" if lines else ""


def _list(name: str, entries: Sequence[object]) -> str:
    return "\n".join([f"{name}:", *(f"  - {_flow(entry)}" for entry in entries)]) + "\n" if entries else ""


def _plain(section: msgspec.Struct) -> object:
    return msgspec.to_builtins(section)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # C is not in every build
    """Writes values out where they are used again: nobody edits an alias."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _flow(value: object) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=1 << 30, allow_unicode=True
    )
    return text.removesuffix("...\n").strip()
