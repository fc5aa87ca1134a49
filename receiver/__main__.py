"""The command line: `python -m receiver --config.file F` serves; check, explain, test and others stand beside it."""

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

from process import event_loop
from process.command_line import MISUSED, Parser, guarded, invoked, unknown_command
from process.logs import set_up_logs
from process.optional import load as load_module
from process.service_manager import inherited_sockets
from process.settings import SettingsError
from process.version import VERSION
from process.web_config import WebAccess
from receiver.app import now, serve
from receiver.cli.command import Command
from receiver.config.load import load
from receiver.store.base import StoreError


class Named(NamedTuple):
    """A command whose module is imported when it is asked for: serving needs none of them."""

    about: str
    module: str
    name: str = "COMMAND"


COMMANDS: dict[str, Named] = {
    "check": Named("check receiver.yml as the receiver reads it", "receiver.cli.check"),
    "explain": Named("show who is told of an alert, when, how and why", "receiver.cli.explain"),
    "drill": Named(
        "send a test alert through Alertmanager and time each step until somebody answers", "receiver.cli.drill"
    ),
    "import": Named("write a receiver.yml from Grafana OnCall, Opsgenie, PagerDuty or GoAlert", "receiver.cli.import_"),
    "init": Named("write a first receiver.yml from an alertmanager.yml and its rules", "receiver.cli.init"),
    "incidents": Named(
        "list the open incidents of a running receiver, or show one with its timeline", "receiver.cli.acts", "INCIDENTS"
    ),
    "ack": Named("acknowledge incidents", "receiver.cli.acts", "ACK"),
    "unack": Named("take back acknowledgements: their step is paged again", "receiver.cli.acts", "UNACK"),
    "take": Named("take incidents from whoever has them", "receiver.cli.acts", "TAKE"),
    "resolve": Named("resolve incidents", "receiver.cli.acts", "RESOLVE"),
    "snooze": Named("acknowledge incidents until a time", "receiver.cli.acts", "SNOOZE"),
    "handover": Named("ask a person to take incidents, or give them to a team", "receiver.cli.acts", "HANDOVER"),
    "escalate": Named("page the next step's people now", "receiver.cli.acts", "ESCALATE"),
    "attach": Named("attach incidents to another one, which is then answered for all", "receiver.cli.acts", "ATTACH"),
    "detach": Named("detach incidents from the one that they are attached to", "receiver.cli.acts", "DETACH"),
    "note": Named("write a line into the timeline of incidents", "receiver.cli.acts", "NOTE"),
    "silence": Named("make, extend, end and list the silences of an incident in Alertmanager", "receiver.cli.silence"),
    "page": Named("page a person or a team with a text", "receiver.cli.acts", "PAGE"),
    "override": Named("cover and swap shifts", "receiver.cli.override"),
    "backup": Named("copy the database while the receiver runs", "receiver.cli.backup"),
    "restore": Named("replace the database by a copy while the receiver is stopped", "receiver.cli.backup", "RESTORE"),
    "postmortem": Named("write the draft of a post-mortem in Markdown", "receiver.cli.postmortem"),
    "preview": Named("show what a message looks like", "receiver.cli.preview"),
    "replay": Named("show what another receiver.yml would have done about past incidents", "receiver.cli.replay"),
    "report": Named("report incidents, MTTA, MTTR, breaches and night pages of a period", "receiver.cli.report"),
    "review": Named(
        "review a week's, month's, quarter's or year's alerts, thresholds, baselines and dashboards",
        "receiver.cli.review",
    ),
    "schedule": Named("show who is on call, now and in the days to come", "receiver.cli.schedule"),
    "support-bundle": Named(
        "write what a bug report needs into one file, without secrets", "receiver.cli.support_bundle"
    ),
    "migrate": Named("move everything from a SQLite file to PostgreSQL", "receiver.cli.migrate"),
    "erase": Named("remove a person who has left from the database", "receiver.cli.erase"),
    "token": Named("create, list and revoke the API tokens of scripts", "receiver.cli.tokens"),
    "test": Named("run unit tests of the policy in receiver.yml", "receiver.cli.test"),
}


def command(named: Named) -> Command:
    """Import a command."""
    found = getattr(load_module(named.module), named.name)
    if not isinstance(found, Command):
        raise TypeError(f"{named.module}.{named.name} is not a Command")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Give the exit status: 0 fine, 1 with errors on standard error, 2 for a wrong command line."""
    words = sys.argv[1:] if arguments is None else arguments
    wrong = unknown_command("receiver", words, ("serve", *COMMANDS))
    if wrong:
        print(wrong, file=sys.stderr)
        return MISUSED
    try:
        if words and words[0] in COMMANDS:
            named = COMMANDS[words[0]]
            asked = command(named)
            parser = Parser(prog=f"{_invoked()} {words[0]}", description=f"{named.about[0].upper()}{named.about[1:]}.")
            asked.add_arguments(parser)
            return asked.run(parser.parse_args(words[1:]), now)
        return _serve(words[1:] if words and words[0] == "serve" else words)
    except (SettingsError, StoreError) as error:
        for line in str(error).splitlines():
            print(f"receiver: {line}", file=sys.stderr)
        return 1


def _serve(words: list[str]) -> int:
    listed = "\n".join(f"  {name:<14} {about}" for name, (about, _, _) in COMMANDS.items())
    parser = Parser(
        prog=_invoked(),
        description="Receive Alertmanager's webhooks and page whoever is on call.",
        epilog=f"Other commands, each with its own --help:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"receiver {VERSION}")
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--web.listen-address", dest="listen", help="HOST:PORT; the file's `listen` otherwise")
    parser.add_argument("--web.config.file", dest="web", type=Path, help="TLS and basic auth, in Prometheus' format")
    parser.add_argument("--log.level", dest="level", choices=["debug", "info", "warning", "error"], default="info")
    parser.add_argument("--log.format", dest="form", choices=["logfmt", "json"], default="logfmt")
    event_loop.add_argument(parser)
    options = parser.parse_args(words)
    config, source = load(options.config)
    set_up_logs(options.level, options.form)
    inherited = [sock for named in inherited_sockets(os.environ, os.getpid()).values() for sock in named]
    access = WebAccess(options.web)
    served = serve(config, source, options.listen or config.listen, _announce, inherited, access)
    return event_loop.run(served, options.loop)


def _invoked() -> str:
    return invoked("heypeter-receiver", "receiver")


def _announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run() -> int:
    """Run what `heypeter-receiver` and `python -m receiver` are; gives the exit status."""
    return guarded(main)


if __name__ == "__main__":
    raise SystemExit(run())
