"""The command line: `python -m receiver --config.file F` serves; check, explain, test and others stand beside it."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from process.command_line import MISUSED, guarded, unknown_command
from process.logs import set_up_logs
from process.service_manager import inherited_sockets
from process.settings import SettingsError
from process.version import VERSION
from process.web_config import WebAccess
from receiver.app import now, serve
from receiver.cli import backup, check, drill, explain, import_, init, preview, review, support_bundle
from receiver.cli import report as command
from receiver.cli import schedule as show_schedule
from receiver.cli import test as policy_test
from receiver.config.load import load
from receiver.store.base import StoreError

Run = Callable[[argparse.Namespace], int]

COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Run]] = {
    "check": ("check receiver.yml as the receiver reads it", check.add_arguments, lambda o: check.run(o, now())),
    "explain": ("who is told of an alert, when, how and why", explain.add_arguments, lambda o: explain.run(o, now())),
    "drill": ("send an exercise through everything", drill.add_arguments, lambda o: drill.run(o, now)),
    "import": (
        "receiver.yml from Grafana OnCall, Opsgenie, PagerDuty or GoAlert",
        import_.add_arguments,
        lambda o: import_.run(o, now()),
    ),
    "init": (
        "write a first receiver.yml from an alertmanager.yml and its rules",
        init.add_arguments,
        lambda o: init.run(o, now()),
    ),
    "backup": ("copy the database while the receiver runs", backup.add_backup_arguments, backup.run_backup),
    "restore": (
        "put a copy in the place of the database while the receiver does not run",
        backup.add_restore_arguments,
        lambda o: backup.run_restore(o, now()),
    ),
    "preview": ("what a message looks like", preview.add_arguments, preview.run),
    "report": (
        "incidents, MTTA, MTTR, breaches and night pages",
        command.add_arguments,
        lambda o: command.run(o, now()),
    ),
    "review": (
        "a week's, month's, quarter's or year's review of alerts, thresholds, baselines and dashboards",
        review.add_arguments,
        lambda o: review.run(o, now()),
    ),
    "schedule": (
        "who is on call, now and in the days to come",
        show_schedule.add_arguments,
        lambda o: show_schedule.run(o, now()),
    ),
    "support-bundle": (
        "what a bug report needs, in one file, without secrets",
        support_bundle.add_arguments,
        lambda o: support_bundle.run(o, now()),
    ),
    "test": ("run unit tests of a policy", policy_test.add_arguments, policy_test.run),
}


def main(arguments: list[str] | None = None) -> int:
    """Give the exit status: 0 fine, 1 with errors on standard error, 2 for a wrong command line."""
    words = sys.argv[1:] if arguments is None else arguments
    wrong = unknown_command("receiver", words, ("serve", *COMMANDS))
    if wrong:
        print(wrong, file=sys.stderr)
        return MISUSED
    try:
        if words and words[0] in COMMANDS:
            about, add_arguments, run = COMMANDS[words[0]]
            parser = argparse.ArgumentParser(prog=f"receiver {words[0]}", description=f"{about.capitalize()}.")
            add_arguments(parser)
            return run(parser.parse_args(words[1:]))
        return _serve(words[1:] if words and words[0] == "serve" else words)
    except (SettingsError, StoreError) as error:
        for line in str(error).splitlines():
            print(f"receiver: {line}", file=sys.stderr)
        return 1


def _serve(words: list[str]) -> int:
    listed = "\n".join(f"  {name:<14} {about}" for name, (about, _, _) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="receiver",
        description="From Alertmanager's webhooks to the right person.",
        epilog=f"Other commands, each with its own --help:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"receiver {VERSION}")
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--web.listen-address", dest="listen", help="HOST:PORT; the file's `listen` otherwise")
    parser.add_argument("--web.config.file", dest="web", type=Path, help="TLS and basic auth, in Prometheus' format")
    parser.add_argument("--log.level", dest="level", choices=["debug", "info", "warning", "error"], default="info")
    parser.add_argument("--log.format", dest="form", choices=["logfmt", "json"], default="logfmt")
    options = parser.parse_args(words)
    config, source = load(options.config)
    set_up_logs(options.level, options.form)
    inherited = [sock for named in inherited_sockets(os.environ, os.getpid()).values() for sock in named]
    access = WebAccess(options.web)
    return asyncio.run(serve(config, source, options.listen or config.listen, _announce, inherited, access))


def _announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run() -> int:
    """Run what `heypeter-receiver` and `python -m receiver` are; gives the exit status."""
    return guarded(main)


if __name__ == "__main__":
    raise SystemExit(run())
