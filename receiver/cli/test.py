"""`python -m receiver test FILE…`: unit tests for receiver.yml, as promtool has them for rules.

A test says what fires, who answers and when; and expects who is told what, line by line:

    tests:
      - name: a P1 that nobody answers
        happens:
          - {at: 0m, fires: {alertname: HighErrorRate, severity: critical, team: backend}}
        until: 61m
        expect: |
          0m   page  Linh Tran
          15m  page  Marek Novak
"""

import argparse
import difflib
import hashlib
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from process.settings import Duration, SettingsError, Source, Strict
from receiver.cli.command import Command
from receiver.cli.explain import job_of, webhook_of
from receiver.cli.instant import instant
from receiver.config.build import build_routing
from receiver.config.load import Config, load
from receiver.incident.delivery import Handling
from receiver.incident.event import (
    Acknowledge,
    AlertsReceived,
    EscalateNow,
    Event,
    HandOver,
    Paused,
    Raise,
    Resolve,
    Resumed,
    Snooze,
    TakeOver,
    Unacknowledge,
    UndoResolve,
)
from receiver.incident.heartbeat import Beat, Job, Watch, looked, missed
from receiver.incident.model import Alert, AlertGroup, Origin, Pause, PauseKind, Priority
from receiver.oncall.cover import Cover, CoverState
from receiver.oncall.directory import Directory
from receiver.policy.current import with_duty
from receiver.policy.routing import Routing
from receiver.policy.simulate import Story, play, span
from receiver.web.alertmanager_payload import PayloadError
from receiver.web.generic_payload import read

T = TypeVar("T")

_VERBS = (
    *("fires", "resolves", "acknowledge", "resolve", "undo", "give_back", "take_over", "snooze", "hand_over"),
    *("escalate", "page", "silenced_for", "silence_ends", "beats", "webhook"),
)


class Start(str):
    """When a test starts, in ISO 8601; YAML may have parsed it as a date or a time. Without an offset it is UTC."""

    __slots__ = ()

    @classmethod
    def from_yaml(cls, value: object) -> "Start":
        """Convert what YAML parsed; ValueError names the expected form."""
        text = value.isoformat() if isinstance(value, date) else value
        try:
            return cls(instant(str(text), "").isoformat())
        except SettingsError as error:
            raise ValueError(f"invalid time {value!r} (expected e.g. 2026-01-05T03:00:00+00:00)") from error

    @property
    def instant(self) -> datetime:
        """Give it in UTC."""
        return datetime.fromisoformat(self)


class Snoozing(Strict, frozen=True, kw_only=True):
    """Somebody wants to hear no more of it for a while."""

    by: str
    length: Duration = msgspec.field(name="for")


class HandingOver(Strict, frozen=True, kw_only=True):
    """Somebody asks a person to take it over, or gives it to a team."""

    by: str
    person: str = ""
    team: str = ""


class Paging(Strict, frozen=True, kw_only=True):
    """Somebody pages a person or a team by hand."""

    by: str
    text: str = "look at this"
    person: str = ""
    team: str = ""
    priority: Priority = Priority.P1


class Covering(Strict, frozen=True, kw_only=True):
    """Somebody stands in for somebody else; times count from the start of the test."""

    person: str
    out: str = ""
    schedule: str = ""
    start: Duration = msgspec.field(default=Duration(0), name="from")
    end: Duration = msgspec.field(name="to")


class Happening(Strict, frozen=True, kw_only=True):
    """One thing that happens ``at`` a time after the start; exactly one of the others is given."""

    at: Duration
    fires: dict[str, str] | None = None
    resolves: dict[str, str] | None = None
    acknowledge: str = ""
    resolve: str = ""
    undo: str = ""  # whoever takes the resolve back
    give_back: str = ""
    take_over: str = ""
    snooze: Snoozing | None = None
    hand_over: HandingOver | None = None
    escalate: str = ""  # by hand
    page: Paging | None = None
    silenced_for: Duration | None = None
    silence_ends: bool = False
    beats: str = ""  # a job of `heartbeats`; without a further one in time it is missed
    webhook: str = ""  # of `generic_webhooks`, gets the body
    body: dict[str, Any] | None = None


class Case(Strict, frozen=True, kw_only=True):
    """One test."""

    name: str
    happens: list[Happening]
    expect: str
    start: Start = Start("2026-01-05T03:00:00+00:00")  # a Monday night
    until: Duration = Duration(86400)
    covers: list[Covering] = []
    awake: dict[str, Duration] = {}  # who is awake, and until when after the start
    show: Literal["people", "channels", "everything"] = "people"


class Tests(Strict, frozen=True, kw_only=True):
    """A file of tests; ``config`` names the receiver.yml that is tested."""

    tests: list[Case]
    config: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files of tests")
    parser.add_argument("--config.file", dest="config", type=Path, help="receiver.yml; the file's `config` otherwise")


def run(options: argparse.Namespace) -> int:
    """Run every test of every file; 0 if all pass, 1 with a difference for each that does not."""
    failed = total = 0
    for path in options.files:
        source = Source(path)
        tests = source.convert(Tests)
        if not tests.tests:
            raise source.error(".tests", "there is no test in it")
        config_path = options.config or tests.config
        if config_path is None:
            raise source.error(".config", "name the receiver.yml to be tested, here or with --config.file")
        config, of_config = load(config_path)
        routing = build_routing(config, of_config)
        for number, case in enumerate(tests.tests):
            total += 1
            difference = check(routing, case, source, f".tests[{number}]", config.channels.handling, config)
            if difference:
                failed += 1
                print(f"FAILED {path}: {case.name}\n{difference}\n", file=sys.stderr)
    print(f"{total - failed} of {total} policy tests passed" if failed else f"OK: {total} policy tests passed")
    return 1 if failed else 0


def check(
    routing: Routing,
    case: Case,
    source: Source,
    at: str,
    handling: Callable[[str], Handling] = lambda _channel: Handling(),
    config: Config | None = None,
) -> str:
    """Run one test; "" if it passes, else what was expected against what came.

    ``config`` is needed for what jobs and other tools send.
    """
    start = case.start.instant
    routing = with_duty(routing, _covers(case, start, routing.directory), _awake(case, start, routing.directory), ())
    events: list[tuple[datetime, Event]] = []
    beats: dict[str, list[datetime]] = {}
    for number, happening in enumerate(case.happens):
        where, moment = f"{at}.happens[{number}]", start + timedelta(seconds=happening.at)
        verb = _verb(happening, source, where)
        if verb == "beats":
            beats.setdefault(happening.beats, []).append(moment)
        elif verb == "webhook":
            events.append((moment, _posted(happening, config, source, where, moment)))
        else:
            events.append((moment, _event(verb, happening, moment, routing.directory)))
    for name, heard in beats.items():
        events += _absences(_found(job_of, config, name, source, at), sorted(heard))
    story = play(routing, start, events, start + timedelta(seconds=case.until), handling)
    wanted = [" ".join(line.split()) for line in case.expect.splitlines() if line.strip()]
    came = lines(story, start, routing.directory, case.show)
    if sorted(wanted) == sorted(came):
        return ""
    return "\n".join(difflib.unified_diff(wanted, came, "expected", "came", lineterm="", n=100))


def lines(story: Story, start: datetime, directory: Directory, show: str = "people") -> list[str]:
    """Write what was told, one line each: when, what, to whom; with ``channels`` also by which way."""
    told_lines: dict[str, None] = {}
    for told in story.told:
        target = told.notification.target
        if not target.person and show != "everything":
            continue
        by = "" if show == "people" else f" by {target.channel}"
        whom = directory.name(target.person) or target.address
        told_lines[f"{span(told.at - start)} {told.notification.kind} {whom}{by}"] = None
    return list(told_lines)


def _verb(happening: Happening, source: Source, at: str) -> str:
    verbs = [name for name in _VERBS if getattr(happening, name)]
    if len(verbs) != 1:
        raise source.error(at, f"give exactly one of {', '.join(_VERBS[:-1])} or {_VERBS[-1]}")
    return verbs[0]


def _absences(job: Job, heard: list[datetime]) -> Iterator[tuple[datetime, Event]]:
    """Give what a job's incident is told: at each beat, and when one does not come in time."""
    for beat, after in zip_longest(heard, heard[1:]):
        yield beat, missed(job, Beat(beat, beat), beat)
        late = beat + job.patience
        if after is None or after > late:
            found = looked(Watch({job.name: Beat(beat, beat)}, late), {job.name: job}, late)
            yield late, missed(job, found.beats[job.name], late)


def _posted(happening: Happening, config: Config | None, source: Source, at: str, moment: datetime) -> Event:
    """Read a body as the receiver would."""
    webhook = _found(webhook_of, config, happening.webhook, source, at)
    try:
        return AlertsReceived(read(happening.webhook, webhook, happening.body or {}, moment))
    except PayloadError as error:
        raise source.error(f"{at}.body", f"would be answered 400: {error}") from error


def _found(find: Callable[[Config, str], T], config: Config | None, name: str, source: Source, at: str) -> T:
    if config is None:
        raise source.error(at, "needs a receiver.yml")
    try:
        return find(config, name)
    except SettingsError as error:
        raise source.error(at, str(error)) from error


def _event(verb: str, happening: Happening, moment: datetime, directory: Directory) -> Event:
    if verb in {"fires", "resolves"}:
        return AlertsReceived(_group(getattr(happening, verb), moment, firing=verb == "fires"))
    if verb in _ACTS:
        return _ACTS[verb](_key(directory, getattr(happening, verb)), Origin.TEST)
    if verb == "silenced_for":
        until = moment + timedelta(seconds=happening.silenced_for or 0)
        return Paused(Pause(PauseKind.SILENCE, "test", until=until))
    return _act(happening, moment, directory) or Resumed()


_ACTS: dict[str, Callable[[str, Origin], Event]] = {
    "acknowledge": Acknowledge,
    "resolve": Resolve,
    "undo": UndoResolve,
    "give_back": Unacknowledge,
    "take_over": TakeOver,
    "escalate": EscalateNow,
}


def _act(happening: Happening, moment: datetime, directory: Directory) -> Event | None:
    """Give the act that says more than who does it."""
    if happening.snooze is not None:
        until = moment + timedelta(seconds=happening.snooze.length)
        return Snooze(_key(directory, happening.snooze.by), Origin.TEST, until)
    if happening.hand_over is not None:
        one = happening.hand_over
        return HandOver(_key(directory, one.by), Origin.TEST, _key(directory, one.person), one.team)
    if happening.page is not None:
        call = happening.page
        person = _key(directory, call.person)
        return Raise(_key(directory, call.by), Origin.TEST, call.text, person, call.team, call.priority)
    return None


def _key(directory: Directory, name: str) -> str:
    return directory.key(name) or name


def _covers(case: Case, start: datetime, directory: Directory) -> tuple[Cover, ...]:
    return tuple(
        Cover(
            one.schedule,
            _key(directory, one.out),
            _key(directory, one.person),
            start + timedelta(seconds=one.start),
            start + timedelta(seconds=one.end),
            CoverState.ACTIVE,
        )
        for one in case.covers
    )


def _awake(case: Case, start: datetime, directory: Directory) -> dict[str, datetime]:
    return {_key(directory, name): start + timedelta(seconds=length) for name, length in case.awake.items()}


def _group(labels: dict[str, str], at: datetime, *, firing: bool) -> AlertGroup:
    name = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
    alert = Alert(name, firing, at, None if firing else at, labels, {})
    return AlertGroup("tested", (alert,), receiver="test")


COMMAND = Command(add_arguments, lambda options, _clock: run(options))
