"""`python -m receiver support-bundle`: what a bug report needs, in one file, without secrets."""

import argparse
from datetime import datetime
from pathlib import Path

import yaml

from process import support_bundle
from process.addresses import own_url
from process.errors import clean_lines
from process.redacted import redacted
from process.settings import SettingsError
from receiver.cli.command import Command
from receiver.cli.database import database_of
from receiver.config.load import load, secret_files
from receiver.store.sqlite.migrations import SCHEMA_VERSION

_ABOUT = """\
A support bundle of the receiver. Secrets, people's mail addresses and queries of URLs are taken out. It still has names
of people, teams and hosts, and titles of alerts: look through it before you send it.

receiver.yml   the configuration, without what has its default
versions.txt   of the program, of Python, of its packages and of the database
ready.txt      what /-/ready says
metrics.txt    what /metrics says
receiver.log   the end of the log, if --log.file was given
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    support_bundle.add_arguments(parser, "receiver")


def run(options: argparse.Namespace, now: datetime) -> int:
    """0 and the name of the file; what could not be had is said inside it."""
    print(support_bundle.write(options.out, {"README.txt": _ABOUT, **_collected(options)}, now, "receiver"))
    return 0


def _collected(options: argparse.Namespace) -> dict[str, str]:
    """Give each file's text. Of a configuration that cannot be read, only its errors are known."""
    try:
        config, source = load(options.config)
    except SettingsError as error:
        errors = clean_lines(f"# cannot be read:\n{error}\n", ())
        return {"receiver.yml": errors, "versions.txt": _versions("unknown")}
    plain, secrets = redacted(config, [file for _, file in secret_files(config)])
    ready, metrics = support_bundle.asked(options.url or own_url(config.listen))
    files = {
        "receiver.yml": yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=1000),
        "versions.txt": _versions(database_of(None, config, source).described()),
        "ready.txt": ready,
        "metrics.txt": metrics,
    }
    if options.log:
        files["receiver.log"] = support_bundle.end_of(options.log)
    return {name: clean_lines(text, secrets) for name, text in files.items()}


def _versions(database: str) -> str:
    return support_bundle.versions("receiver", (f"schema {SCHEMA_VERSION}", f"database: {database}"))


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
