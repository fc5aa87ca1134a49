"""The command line: `python -m receiver --config.file F` serves, `python -m receiver check --config.file F` checks."""

import argparse
import asyncio
import sys
from pathlib import Path

from process.logs import set_up_logs
from process.settings import SettingsError
from receiver.app import Receiver, serve
from receiver.config import load, missing_secret_files
from receiver.store.base import StoreError


def main(arguments: list[str] | None = None) -> int:
    """Give the exit status: 0 fine, 1 with one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="receiver", description="From Alertmanager's webhooks to the right person.")
    parser.add_argument("command", nargs="?", choices=["serve", "check"], default="serve")
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--web.listen-address", dest="listen", help="HOST:PORT; the file's `listen` otherwise")
    parser.add_argument("--log.level", dest="level", choices=["debug", "info", "warning", "error"], default="info")
    parser.add_argument("--log.format", dest="form", choices=["logfmt", "json"], default="logfmt")
    parser.add_argument("--secrets", action="store_true", help="check: secret files must be there, too")
    options = parser.parse_args(arguments)
    try:
        config, source = load(options.config)
        if options.command == "check":
            return _check(options.config, secrets=options.secrets)
        set_up_logs(options.level, options.form)
        return asyncio.run(serve(config, source, options.listen or config.listen, _announce))
    except (SettingsError, StoreError) as error:
        print(f"receiver: {error}", file=sys.stderr)
        return 1


def _check(path: Path, *, secrets: bool) -> int:
    config, source = load(path)
    missing = missing_secret_files(config)
    if secrets and not missing:
        Receiver(config, source)  # opens every secret, and nothing else
    for at, file in missing:
        grade = "error" if secrets else "warning"
        print(f"{grade}: {source.error(at, f'{file} cannot be read')}", file=sys.stderr)
    if secrets and missing:
        return 1
    steps = sum(1 for row in config.escalation_matrix)
    print(f"OK {path}: {steps} escalation steps, {len(config.people)} people, {len(config.teams)} teams")
    return 0


def _announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
