"""`receiver incidents`, `ack`, `resolve`, `snooze` and the other acts: what the console does, on a command line."""

import argparse
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from process.settings import SettingsError, parse_duration
from receiver.cli import api_client
from receiver.cli.api_client import Answer, ApiClient, ask
from receiver.cli.command import Command
from receiver.cli.instant import instant
from receiver.cli.tables import plain, table
from receiver.incident.model import Priority
from receiver.messages.i18n import duration

_HEAD = ("#", "prio", "state", "open for", "who", "next (UTC)", "title")
_HINT = " (--anyway)"
_SHOWN = 20  # characters of a name


# incidents


def _incidents_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", nargs="?", type=int, help="show this one, with its timeline")
    parser.add_argument("--state", choices=["triggered", "acknowledged", "resolved"], help="open ones otherwise")
    parser.add_argument("--limit", type=int, default=100, help="at most so many (100)")
    api_client.add_arguments(parser)


def _incidents(options: argparse.Namespace, now: datetime) -> int:
    if options.number is not None:
        print(_whole(ask(options, lambda api: api.get(f"/incidents/{options.number}")), now))
        return 0
    states = [options.state] if options.state else ["triggered", "acknowledged"]

    async def listed(api: ApiClient) -> list[Answer]:
        answers = [await api.get(f"/incidents?state={state}&limit={options.limit}") for state in states]
        return [incident for answer in answers for incident in answer["incidents"]]

    incidents = sorted(ask(options, listed), key=lambda one: (one["priority"], one["id"]))
    print(_table(incidents, now) if incidents else "no incidents")
    return 0


def _table(incidents: Iterable[Answer], now: datetime) -> str:
    return table(_HEAD, [_row(one, now) for one in incidents])


def _row(incident: Answer, now: datetime) -> tuple[str, ...]:
    opened, end = (datetime.fromisoformat(incident[key] or now.isoformat()) for key in ("opened_at", "resolved_at"))
    return (
        str(incident["id"]),
        incident["priority"],
        _state(incident, now),
        duration(end - opened),
        (incident["acknowledged_by"] or incident["resolved_by"] or "nobody")[:_SHOWN],
        _next(incident, now),
        incident["title"] or "unnamed",
    )


def _state(incident: Answer, now: datetime) -> str:
    if incident["attached_to"]:
        return f"attached to #{incident['attached_to']}"
    if incident["snoozed_until"] and incident["state"] == "acknowledged":
        return f"snoozed until {_clock(incident['snoozed_until'], now)}"
    return f"{incident['state']}, paused" if incident["paused"] else str(incident["state"])


def _next(incident: Answer, now: datetime) -> str:
    """Who is paged next, and when; nobody, while somebody has it or its clocks stand still."""
    due = incident["next_due_at"]
    if not due or incident["state"] != "triggered" or incident["paused"] or incident["attached_to"]:
        return ""
    return f"{_clock(due, now)} {', '.join(incident['next'])}"


def _clock(moment: str, now: datetime) -> str:
    at = datetime.fromisoformat(moment).astimezone(UTC)
    return f"{at:%H:%M}" if at - now < timedelta(hours=20) else f"{at:%a %H:%M}"


def _whole(incident: Answer, now: datetime) -> str:
    lines = [_table([incident], now), ""]
    lines += [f"  {one['at'][:19].replace('T', ' ')} {plain(one['text'])}" for one in incident["timeline"]]
    return "\n".join(lines)


# Acts on incidents


def _command(
    add: Callable[[argparse.ArgumentParser], object],
    path: str,
    body: Callable[[argparse.Namespace, datetime], Answer],
) -> Command:
    """An act on some incidents, each by itself: one that is refused does not keep the others from it."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("numbers", nargs="+", type=int, metavar="ID", help="numbers of incidents")
        add(parser)
        api_client.add_arguments(parser)

    def run(options: argparse.Namespace, now: datetime) -> int:
        content = body(options, now)

        async def act(api: ApiClient) -> tuple[list[Answer], list[str]]:
            done, refused = list[Answer](), list[str]()
            for number in dict.fromkeys(options.numbers):
                try:
                    done.append(
                        await api.post(f"/incidents/{number}/{path}", await _seen(api, options, number, content))
                    )
                except SettingsError as error:
                    refused.append(
                        f"#{number}: {error}{_HINT if hasattr(options, 'anyway') and 'firing' in str(error) else ''}"
                    )
            return done, refused

        done, refused = ask(options, act)
        if done:
            print(_table(done, now))
        if refused:
            raise SettingsError(*refused)
        return 0

    return Command(add_arguments, lambda options, clock: run(options, clock()))


async def _seen(api: ApiClient, options: argparse.Namespace, number: int, body: Answer) -> Answer:
    """Say how many alerts fire as far as whoever resolves it has been told: none, unless they insist."""
    if getattr(options, "anyway", None) is None:
        return body
    if not options.anyway:
        return {**body, "firing": 0}
    return {**body, "firing": (await api.get(f"/incidents/{number}"))["firing"]}


def _nothing(_parser: argparse.ArgumentParser) -> None:
    pass


def _no_body(_options: argparse.Namespace, _now: datetime) -> Answer:
    return {}


def _snooze_arguments(parser: argparse.ArgumentParser) -> None:
    until = parser.add_mutually_exclusive_group(required=True)
    until.add_argument("--for", dest="length", help="how long, as 2h or 45m: at most 24h, of a P1 4h")
    until.add_argument("--until", help="until when, as 06:00 or 2026-11-23T06:00 (UTC, or with an offset)")


def _snooze(options: argparse.Namespace, now: datetime) -> Answer:
    if options.length:
        try:
            return {"minutes": ceil(parse_duration(options.length) / 60)}  # by the receiver's clock
        except ValueError as error:
            raise SettingsError(f"--for: {error}") from error
    return {"until": moment(options.until, now, "--until").isoformat()}


def moment(text: str, now: datetime, option: str) -> datetime:
    """Read a time: 06:00 is the next one."""
    if len(text) > len("06:00"):
        return instant(text, option)
    try:
        at = datetime.combine(now.date(), datetime.strptime(text, "%H:%M").time(), UTC)  # noqa: DTZ007  # UTC
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} is no time; write 06:00 or 2026-11-23T06:00") from error
    return at if at > now else at + timedelta(days=1)


def _to_whom(parser: argparse.ArgumentParser, *, required: bool) -> None:
    to = parser.add_mutually_exclusive_group(required=required)
    to.add_argument("--person", default="", help="key, name or mail address")
    to.add_argument("--team", default="", help="key in `teams`")


def _note_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text", required=True, help="what to write")
    parser.add_argument("--tell", action="store_true", help="send it to those who were told of the incident, too")


INCIDENTS = Command(_incidents_arguments, lambda options, clock: _incidents(options, clock()))
ACK = _command(_nothing, "acknowledge", _no_body)
UNACK = _command(_nothing, "unacknowledge", _no_body)
TAKE = _command(_nothing, "takeover", _no_body)
RESOLVE = _command(
    lambda parser: parser.add_argument("--anyway", action="store_true", help="also while alerts fire"),
    "resolve",
    _no_body,
)
SNOOZE = _command(_snooze_arguments, "snooze", _snooze)
HANDOVER = _command(
    lambda parser: _to_whom(parser, required=True),
    "handover",
    lambda options, _now: {"person": options.person, "team": options.team},
)
ESCALATE = _command(
    lambda parser: parser.add_argument("--step", type=int, help="the step that you have seen; else it is skipped"),
    "escalate",
    lambda options, _now: {"step": options.step},
)
ATTACH = _command(
    lambda parser: parser.add_argument(
        "--to", type=int, required=True, metavar="ID", help="the one that speaks for them"
    ),
    "attach",
    lambda options, _now: {"to": options.to},
)
DETACH = _command(_nothing, "detach", _no_body)
NOTE = _command(_note_arguments, "note", lambda options, _now: {"text": options.text, "tell": options.tell})


# page


def _page_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="what is wrong")
    _to_whom(parser, required=False)
    parser.add_argument("--priority", type=str.upper, choices=[one.value for one in Priority], default="P1")
    api_client.add_arguments(parser)


def _page(options: argparse.Namespace, now: datetime) -> int:
    body: dict[str, Any] = {name: getattr(options, name) for name in ("text", "person", "team", "priority")}
    print(_table([ask(options, lambda api: api.post("/incidents", body))], now))
    return 0


PAGE = Command(_page_arguments, lambda options, clock: _page(options, clock()))
