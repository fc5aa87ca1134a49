"""The command line: `python -m exporter` serves, `check` checks a file, `metrics-doc` prints docs/metrics.md."""

import argparse
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from exporter import support_bundle
from exporter.app import Addresses, Clock, Exporter, Listening, Settings, serve
from exporter.catalogue.metrics_doc import document
from exporter.catalogue.model import Catalogue
from exporter.config import (
    Config,
    Own,
    load,
    replicas_secret,
    shipped_catalogue,
    token,
    unsafe,
    with_own,
)
from exporter.persistence.snapshot import StorageError
from process import event_loop, web_config
from process.addresses import listen_address
from process.command_line import MISUSED, Parser, guarded, invoked, unknown_command
from process.errors import report_errors
from process.logs import set_up_logs
from process.service_manager import inherited_sockets
from process.settings import SettingsError
from process.support_bundle import add_arguments
from process.version import VERSION

log = logging.getLogger("exporter")

COMMANDS = ("serve", "check", "metrics-doc", "support-bundle")


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0, 1 with errors on standard error, or 2 for a wrong command line."""
    wrong = unknown_command("exporter", sys.argv[1:] if arguments is None else arguments, COMMANDS)
    if wrong:
        print(wrong, file=sys.stderr)
        return MISUSED
    options = _parser().parse_args(arguments)
    try:
        if options.command == "metrics-doc":
            print(document(load(options.config)[2] if options.config else shipped_catalogue(Config())), end="")
            return 0
        if options.command == "check":
            _check(options.config, _own(options), secrets=options.secrets)
            return 0
        if options.command == "support-bundle":
            print(support_bundle.write(options, datetime.fromtimestamp(Clock().now(), UTC)))
            return 0
        return event_loop.run(_serve(options), options.loop)
    except (SettingsError, StorageError) as error:
        for line in str(error).splitlines():
            print(f"exporter: {line}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=invoked("heypeter-exporter", "exporter"), description="Turn events into Prometheus metrics.")
    parser.add_argument("--version", action="version", version=f"exporter {VERSION}")
    parser.add_argument(
        "command",
        nargs="?",
        choices=COMMANDS,
        default="serve",
        help="serve (default), check the configuration, print docs/metrics.md, or write what a bug report needs",
    )
    parser.add_argument(
        "--config.file", dest="config", type=Path, help="configuration file (exporter.yml); without it, defaults"
    )
    parser.add_argument("--web.listen-address", dest="listen", help="HOST:PORT; overrides `listen` of the file")
    parser.add_argument("--web.metrics-address", dest="metrics", help="HOST:PORT; overrides `metrics_listen`")
    parser.add_argument("--storage.path", dest="storage", type=Path, help="folder; overrides `storage.path`")
    parser.add_argument("--web.config.file", dest="web", type=Path, help="TLS and basic auth, in Prometheus' format")
    parser.add_argument("--web.enable-lifecycle", dest="lifecycle", action="store_true", help="serve POST /-/reload")
    parser.add_argument("--log.level", dest="level", choices=["debug", "info", "warning", "error"], default="info")
    parser.add_argument("--log.format", dest="form", choices=["logfmt", "json"], default="logfmt")
    parser.add_argument("--secrets", action="store_true", help="with check: secret files must exist as well")
    event_loop.add_argument(parser)
    add_arguments(parser.add_argument_group("support-bundle"), "exporter")
    return parser


async def _serve(options: argparse.Namespace) -> int:
    set_up_logs(options.level, options.form)
    first = _settings(options)
    report_errors("exporter", os.environ, lambda: exporter.parts.settings.secrets)
    tls = None if options.web is None else web_config.load(options.web)[1]

    def read() -> Settings:
        settings = _settings(options)
        key = first.needs_restart(settings)
        if key:
            raise SettingsError(f"{options.config}: {key} cannot be changed by a reload; restart the exporter")
        return settings

    exporter = Exporter(first)
    inherited = inherited_sockets(os.environ, os.getpid())
    listening = Listening(Addresses.of(first.config), tls, exporter.reloader(read), options.lifecycle, inherited)
    return await serve(exporter, listening, _announce)


def _own(options: argparse.Namespace) -> Own:
    for option, address in (("--web.listen-address", options.listen), ("--web.metrics-address", options.metrics)):
        try:
            listen_address(address or ":0")
        except ValueError as error:
            raise SettingsError(f"{option}: {error}") from error
    return Own(options.listen or "", options.metrics or "", options.storage)


def _settings(options: argparse.Namespace) -> Settings:
    users = {} if options.web is None else web_config.load(options.web)[0].basic_auth_users
    if options.config is None:
        config = with_own(Config(), _own(options))
        return Settings(config, shipped_catalogue(config), None, users)
    config, source, catalogue = load(options.config, _own(options))
    for text, _ in unsafe(config, source):
        log.warning("%s", text)
    return Settings(config, catalogue, token(config, source), users, replicas_secret(config, source))


def _check(path: Path | None, own: Own, *, secrets: bool) -> None:
    config, catalogue = Config(), shipped_catalogue(Config())
    if path is not None:
        config, source, catalogue = load(path, own)
        files = {".events.token_file": config.events.token_file, ".replicas.secret_file": config.replicas.secret_file}
        if secrets:
            token(config, source)
            replicas_secret(config, source)
        for at, file in files.items():
            if not secrets and file is not None and not file.is_file():
                print(f"warning: {source.error(at, f'{file} cannot be read')}", file=sys.stderr)
        findings = unsafe(config, source)
        for text in (text for text, refused in findings if not refused):
            print(f"warning: {text}", file=sys.stderr)
        errors = [text for text, refused in findings if refused]
        if errors:
            raise SettingsError(*errors)
    _report(path, config, catalogue)


def _report(path: Path | None, config: Config, catalogue: Catalogue) -> None:
    lines = f"at most {catalogue.worst_case} lines of /metrics (limit {config.limits.series})"
    print(f"OK {path or 'defaults'}: {len(catalogue.families)} families, {lines}")
    for family in sorted(catalogue.families, key=lambda family: -family.worst_case)[:3]:
        print(f"   {family.name}: at most {family.worst_case} lines, {family.possible} possible label sets")


def _announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run() -> int:
    """Run what `heypeter-exporter` and `python -m exporter` are; gives the exit status."""
    return guarded(main)


if __name__ == "__main__":
    raise SystemExit(run())
