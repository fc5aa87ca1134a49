"""`python -m receiver import`: receiver.yml from Grafana OnCall and others, with a report and a comparison."""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from process.findings import reason
from process.settings import SettingsError
from receiver.cli.command import Command
from receiver.cli.tables import table
from receiver.clients.http_api import open_session
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.importing.answers import Answers, Api, Taken, save, saved
from receiver.importing.document import document, to_fill
from receiver.importing.draft import Draft, Grade, ImportFailedError
from receiver.importing.proof import Delay, Difference, delays, differences
from receiver.importing.sources import SOURCES, Source
from receiver.incident.event import AlertsReceived
from receiver.incident.model import Alert, AlertGroup, Kind
from receiver.policy.routing import Routing
from receiver.policy.simulate import play

UNFINISHED = 2  # exit code: something is neither exact nor accepted
_LAST_WAY = 3600  # seconds after the last step within which its pages are sent by any channel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("source", choices=list(SOURCES), help="the tool to import from")
    parser.add_argument("--from", dest="folder", type=Path, help="read saved answers from this folder, ask no API")
    parser.add_argument("--url", default="", help="the API's address, if it is not the usual one")
    parser.add_argument("--token-file", dest="token", type=Path, help="the file with the API's token")
    parser.add_argument("--grafana-url", dest="grafana", default="", help="oncall: for tokens of service accounts")
    parser.add_argument("--save", type=Path, help="keep the API's answers in this folder")
    parser.add_argument("--output.file", dest="output", type=Path, default=Path("receiver.yml"))
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    parser.add_argument("--verify", action="store_true", help="compare with the source's own rendering")
    parser.add_argument("--days", type=int, default=90, help="how many days to compare (90)")
    parser.add_argument("--print-query", dest="query", action="store_true", help="goalert: what an API key needs")
    parser.add_argument("--accept", type=Path, help="a file with lines of the report that need no further look")


def run(options: argparse.Namespace, now: datetime) -> int:
    """0 if all is exact or accepted; 1 with errors or differences; 2 if something of the report is neither."""
    tool = SOURCES[options.source]
    if not 1 <= options.days <= tool.longest:
        raise SettingsError(f"invalid --days {options.days} (expected 1 to {tool.longest}: what {tool.title} renders)")
    if options.query:
        print(tool.query or f"{tool.title} needs no query", end="")
        return 0
    try:
        accepted = _accepted(options.accept)
        _refuse_existing(options.output, force=options.force)
        taken = _taken(options, tool, now)
        draft = _draft(tool, taken)
        routing = _write(options.output, document(draft), force=options.force)
    except ImportFailedError as error:
        raise SettingsError(str(error)) from error
    open_lines = _print_report(draft, accepted, options.output)
    same = _verify(draft, routing, options.days) if options.verify else True
    if not same:
        return 1
    return UNFINISHED if open_lines else 0


def _draft(tool: Source, taken: Taken) -> Draft:
    if not taken.answers.get("users"):
        raise ImportFailedError(f"{tool.title} gave no users: nobody could be told")
    try:
        return tool.draft(taken.answers, taken.at)
    except (ArithmeticError, ValueError) as error:  # a year 10,000, for example
        raise ImportFailedError(f"{tool.title}: a value is out of range ({error})") from error


# Reading.


def _taken(options: argparse.Namespace, tool: Source, now: datetime) -> Taken:
    if options.folder is not None:
        by_hand = Taken({}, now, options.days)
        taken = saved(options.folder, options.source, tool.items, tool.names, by_hand)
        if options.verify and options.days > taken.days:
            raise ImportFailedError(f"{options.folder} holds the shifts of {taken.days} days; set --days {taken.days}")
        return taken
    url = options.url or tool.url
    if not url or options.token is None:
        missing = "--token-file" if url else "--url and --token-file"
        raise SettingsError(f"set {missing}, or --from with a folder of saved answers")
    answers = asyncio.run(_ask(tool, url, _token(options.token), options.grafana, now, options.days))
    taken = Taken(answers, now, options.days)
    if options.save is not None:
        save(options.save, options.source, taken)
    return taken


async def _ask(tool: Source, url: str, token: str, grafana: str, now: datetime, days: int) -> Answers:
    async with open_session() as session:
        api = Api(session, tool.title, url, tool.headers(token, grafana), say=_say)
        return await tool.read(api, now, days)


def _token(path: Path) -> str:
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {reason(error)}") from error
    if not token or not token.isprintable():
        raise SettingsError(f"{path} holds no token")
    return token


def _accepted(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        return frozenset(line.strip() for line in path.read_text("utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {reason(error)}") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Writing.


def _refuse_existing(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise ImportFailedError(f"{path} exists; choose another --output.file, or --force to replace it")


def _write(path: Path, text: str, *, force: bool) -> Routing:
    """Write the whole file or nothing; what cannot be loaded is kept as *.rejected."""
    with _beside(path, text) as written:
        try:
            routing = build_routing(*load(written))
        except SettingsError as error:
            rejected = _rejected(path, written)
            reasons = str(error).replace(str(written), str(rejected))
            raise ImportFailedError(f"the result cannot be used and is in {rejected}: {reasons}") from error
        try:
            if force:
                written.replace(path)
            else:
                os.link(written, path)  # fails if the file has come into being meanwhile
        except OSError as error:
            raise ImportFailedError(f"cannot write {path}: {error.strerror}") from error
    return routing


def _rejected(path: Path, written: Path) -> Path:
    """Keep what cannot be used beside ``path``, under a name that nothing has."""
    for number in count(1):
        name = f"{path.name}.rejected" if number == 1 else f"{path.name}.rejected.{number}"
        try:
            os.link(written, path.with_name(name))
        except FileExistsError:
            continue
        except OSError as error:
            raise ImportFailedError(f"cannot write {path.with_name(name)}: {error.strerror}") from error
        break
    return path.with_name(name)


@contextlib.contextmanager
def _beside(path: Path, text: str) -> Iterator[Path]:
    """A finished file in the folder of ``path``; it is gone afterwards unless it was moved."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        written = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        written.chmod(0o644)
    except OSError as error:
        raise ImportFailedError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield written
    finally:
        written.unlink(missing_ok=True)


# The report.


def _print_report(draft: Draft, accepted: frozenset[str], path: Path) -> int:
    """Print a line for each object; give how many are neither exact nor accepted."""
    counts = {grade: sum(line.grade is grade for line in draft.report) for grade in Grade}
    print(table(["grade", "what", "name", "how or why"], [[x.grade, x.kind, x.name, x.why] for x in draft.report]))
    print(f"{path}: " + ", ".join(f"{count} {grade}" for grade, count in counts.items()))
    print("To fill in:")
    for text in to_fill(draft):
        print(f"  {text}")
    unfinished = [x for x in draft.report if x.grade is not Grade.EXACT and x.subject not in accepted]
    if unfinished:
        print(f"{len(unfinished)} lines are neither exact nor accepted; --accept takes a file with one line for each:")
        for line in unfinished:
            print(f"  {line.subject}")
    return len(unfinished)


# The comparison.


def _verify(draft: Draft, routing: Routing, days: int) -> bool:
    """Print every difference; False if one has no cause."""
    start = draft.taken_at.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    end = start + timedelta(days=days)
    found = [_explained(one, draft) for one in differences(routing.schedules, draft.rendered, start, end)]
    late = delays(draft.told, {team: _paged(routing, team, start) for team in draft.told}, routing.schedules, start)
    missing = [key for key in draft.schedules if key not in draft.rendered and key not in draft.unrendered]
    print(f"Compared with {draft.renderer}: {len(draft.rendered)} of {len(draft.schedules)} schedules,")
    print(f"  every edge and so every hour from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC.")
    print(f"Compared with a second model of {draft.source}: the time lines of {len(draft.told)} escalations.")
    alone = [team for team in draft.teams if team not in draft.told]
    if alone:
        print(f"  Not compared, since their steps depend on the hour or are none of the source's: {', '.join(alone)}")
    for key in missing:
        print(f"error: schedules.{key}: the source gave no rendering of it", file=sys.stderr)
    rows = [_shown(one) for one in found]
    if rows:
        print(table(["schedule", "from (UTC)", "to (UTC)", "source", "ours", "cause"], rows))
    if late:
        print(table(["escalation", "after", "source", "ours"], [_shown_delay(one) for one in late]))
    unexplained = sum(not one.cause for one in found) + len(late)
    print(f"{len(found) + len(late)} differences, {unexplained} of them unexplained")
    return not unexplained and not missing


def _explained(one: Difference, draft: Draft) -> Difference:
    """A schedule whose calendar has no URL yet lacks what stands in it."""
    waits = not one.cause and draft.schedules[one.schedule].calendar
    return replace(one, cause="its calendar is not read yet") if waits else one


def _shown(one: Difference) -> list[str]:
    times = (f"{at:%Y-%m-%d %H:%M}" for at in (one.start, one.end))
    return [one.schedule, *times, _names(one.source), _names(one.ours), one.cause or "UNEXPLAINED"]


def _shown_delay(one: Delay) -> list[str]:
    return [one.team, f"{one.after} s", _names(one.source), _names(one.ours)]


def _names(people: frozenset[str]) -> str:
    return ", ".join(sorted(people)) or "nobody"


def _paged(routing: Routing, team: str, start: datetime) -> Mapping[int, frozenset[str]]:
    """Play an alert that nobody answers to our own core: who is paged, by seconds after it."""
    labels = {"alertname": "Import", "team": team, "priority": min(routing.plans).value}
    alert = Alert("import", True, start, None, labels, {})  # noqa: FBT003  # it fires
    group = AlertGroup("import", (alert,), receiver="import", labels=labels)
    last = routing.plan(min(routing.plans), team).steps[-1].after
    story = play(routing, start, [(start, AlertsReceived(group))], start + timedelta(seconds=last + _LAST_WAY))
    heard: dict[int, frozenset[str]] = {}
    for notification in (told.notification for told in story.told):
        if notification.kind is Kind.PAGE and notification.target.person and notification.at is not None:
            after = int((notification.at - start).total_seconds())
            heard[after] = heard.get(after, frozenset()) | {notification.target.person}
    return heard


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
