"""`receiver override list|make|accept|cancel`: covers and swaps of shifts, at a running receiver."""

import argparse
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from process.settings import SettingsError
from receiver.cli import api_client
from receiver.cli.acts import moment
from receiver.cli.api_client import Answer, ask
from receiver.cli.command import Command
from receiver.cli.tables import table

_HEAD = ("id", "state", "from (UTC)", "to", "schedule", "for", "who", "made by", "remark")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="those that have not ended")
    make = commands.add_parser("make", help="stand in for somebody, or ask to be covered")
    accept = commands.add_parser("accept", help="stand in, as somebody has asked")
    cancel = commands.add_parser("cancel", help="cancel one, or both of a swap")
    for one in (accept, cancel):
        one.add_argument("number", type=int, metavar="ID")
    make.add_argument("--schedule", default="", help="on this schedule; else whatever --out holds")
    make.add_argument("--out", default="", help="who is covered; without it the pager is taken from everybody")
    make.add_argument("--person", default="", help="who stands in; whoever accepts first, if it is left out")
    make.add_argument(
        "--from", dest="start", help="as 18:00 or 2026-11-23T18:00 (UTC, or with an offset); now otherwise"
    )
    make.add_argument("--to", dest="end", required=True, help="as --from")
    make.add_argument("--swap-from", dest="swap_start", default="", help="a swap: --out stands in for --person then")
    make.add_argument("--swap-to", dest="swap_end", default="")
    make.add_argument("--reason", default="")
    for one in (listing, make, accept, cancel):
        api_client.add_arguments(one)


def run(options: argparse.Namespace, now: datetime) -> int:
    """Print the covers that are there, or were changed."""
    match options.command:
        case "list":
            answer = ask(options, lambda api: api.get("/covers"))
        case "make":
            body = _body(options, now)
            answer = ask(options, lambda api: api.post("/covers", body))
        case _:
            answer = ask(options, lambda api: api.post(f"/covers/{options.number}/{options.command}"))
    covers = [one for one in answer["covers"] if options.command != "list" or one["state"] != "cancelled"]
    print(_table(covers) if covers else "no covers")
    return 0


def _body(options: argparse.Namespace, now: datetime) -> Answer:
    start = moment(options.start, now, "--from") if options.start else now
    body: dict[str, Any] = {name: getattr(options, name) for name in ("schedule", "out", "person", "reason")}
    body |= {"start": start.isoformat(), "end": moment(options.end, start, "--to").isoformat()}
    if bool(options.swap_start) != bool(options.swap_end):
        raise SettingsError("give both --swap-from and --swap-to")
    if options.swap_start:
        begins = moment(options.swap_start, now, "--swap-from")
        ends = moment(options.swap_end, begins, "--swap-to")
        body["swap"] = {"start": begins.isoformat(), "end": ends.isoformat()}
    return body


def _table(covers: Iterable[Answer]) -> str:
    return table(_HEAD, [_row(one) for one in covers])


def _row(cover: Answer) -> tuple[str, ...]:
    times = (f"{datetime.fromisoformat(cover[name]):%m-%d %H:%M}" for name in ("start", "end"))
    remark = "the shift has moved" if cover["moved"] else cover["reason"]
    return (
        str(cover["id"]),
        cover["state"],
        *times,
        cover["schedule"] or "all",
        cover["out"] or "everybody",
        cover["person"] or "(first to accept)",
        cover["made_by"],
        remark,
    )


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
