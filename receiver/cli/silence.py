"""`receiver silence`: silences in Alertmanager that belong to an incident, made by a running receiver."""

import argparse
from collections.abc import Iterable
from datetime import UTC, datetime
from math import ceil
from typing import Any
from urllib.parse import quote, urlencode

from process.settings import SettingsError, parse_duration
from receiver.cli import api_client
from receiver.cli.acts import moment
from receiver.cli.api_client import Answer, ApiClient, ask
from receiver.cli.command import Command
from receiver.cli.tables import plain

_SHOWN = 60  # characters of matchers and of a comment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options: without one, those that were made from the incident are listed."""
    parser.add_argument("number", type=int, metavar="ID", help="number of the incident")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--for", dest="length", help="make one for so long, as 2h or 45m: at most 30 days")
    until.add_argument("--until", help="make one until then, as 06:00 or 2026-11-23T06:00 (UTC, or with an offset)")
    until.add_argument("--end", metavar="SILENCE", default="", help="end this silence now")
    parser.add_argument("--change", metavar="SILENCE", default="", help="with --for or --until: give this one that end")
    parser.add_argument(
        "--matcher", action="append", default=[], help="what to silence; the labels that its alerts share otherwise"
    )
    parser.add_argument("--comment", default="", help="why")
    parser.add_argument("--count", action="store_true", help="only say which alerts it would mute")
    api_client.add_arguments(parser)


def run(options: argparse.Namespace, now: datetime) -> int:
    """Do what is asked, and show what there is then."""
    if options.count:
        query = urlencode([("matcher", one) for one in options.matcher])
        print(_counted(ask(options, lambda api: api.get(f"/incidents/{options.number}/silences/preview?{query}"))))
        return 0
    listed = ask(options, lambda api: _do(api, options, now))
    print("\n".join(map(_line, listed)) or "no silences")
    return 0


async def _do(api: ApiClient, options: argparse.Namespace, now: datetime) -> list[Answer]:
    at = f"/incidents/{options.number}/silences"
    body: dict[str, Any] = {"matchers": options.matcher}
    if options.end:
        return [await api.post(f"{at}/{quote(options.end, safe='')}", method="DELETE")]
    if not (options.length or options.until):
        if options.change:
            raise SettingsError("--change: say until when, with --for or --until")
        return [one for one in (await api.get(at))["silences"] if one["over_at"] is None]
    body["minutes"] = _minutes(options, now)
    if options.change:
        return [await api.post(f"{at}/{quote(options.change, safe='')}", body, method="PUT")]
    return [await api.post(at, {**body, "comment": options.comment})]


def _minutes(options: argparse.Namespace, now: datetime) -> int:
    try:
        seconds = parse_duration(options.length) if options.length else None
    except ValueError as error:
        raise SettingsError(f"--for: {error}") from error
    if seconds is None:
        return ceil((moment(options.until, now, "--until") - now).total_seconds() / 60)
    return ceil(seconds / 60)


def _line(silence: Answer) -> str:
    """Write it in one line, whose id can be copied."""
    ends = datetime.fromisoformat(silence["over_at"] or silence["ends_at"]).astimezone(UTC)
    what, comment = ", ".join(silence["matchers"]), silence["comment"]
    end = f"{'ended' if silence['over_at'] else 'until'} {ends:%Y-%m-%d %H:%M} UTC"
    return plain("  ".join((silence["id"], end, silence["made_by"], _cut(what), _cut(comment))))


def _counted(found: Answer) -> str:
    lines = [f"{', '.join(found['matchers'])}: {found['here']} of {found['firing']} alerts of the incident"]
    others: Iterable[dict[str, str]] = found["others"]
    lines += [f"and {found['elsewhere']} others" if found["elsewhere"] else "and nothing else"]
    lines += ["  " + ", ".join(f"{name}={value}" for name, value in sorted(one.items())) for one in others]
    return "\n".join(plain(line) for line in lines)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
