"""The command line: `python -m exporter` serves, `check` checks a file, `metrics-doc` writes docs/metrics.md."""

import argparse
import asyncio
import sys
from pathlib import Path

from exporter.app import Exporter, serve
from exporter.catalogue import Catalogue
from exporter.config import Config, Lists, load, shipped_catalogue, token
from process.settings import Secret, SettingsError
from process.web import set_up_logs


def main(arguments: list[str] | None = None) -> int:
    """Give the exit status: 0 fine, 1 with one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="exporter", description="From events to Prometheus metrics.")
    parser.add_argument("command", nargs="?", choices=["serve", "check", "metrics-doc"], default="serve")
    parser.add_argument("--config.file", dest="config", type=Path, help="exporter.yml; defaults without it")
    parser.add_argument("--web.listen-address", dest="listen", help="HOST:PORT; the file's `listen` otherwise")
    parser.add_argument("--log.level", dest="level", choices=["debug", "info", "warning", "error"], default="info")
    parser.add_argument("--secrets", action="store_true", help="check: secret files must be there, too")
    options = parser.parse_args(arguments)
    try:
        if options.command == "metrics-doc":
            print(document(shipped_catalogue(Lists())), end="")
            return 0
        config, key, catalogue = _read(options.config, secrets=options.command == "serve" or options.secrets)
        if options.command == "check":
            _report(options.config, config, catalogue)
            return 0
        set_up_logs(options.level)
        exporter = Exporter(config, catalogue, key)
        return asyncio.run(serve(exporter, options.listen or config.listen, _announce))
    except SettingsError as error:
        print(f"exporter: {error}", file=sys.stderr)
        return 1


def document(catalogue: Catalogue) -> str:
    """Write docs/metrics.md."""
    lines = ["# Metrics", "", "Written by `python -m exporter metrics-doc` from `exporter/catalogue.yml`.", ""]
    lines += ["| family | type | labels | fed by | what it counts |", "| --- | --- | --- | --- | --- |"]
    for family in catalogue.families:
        labels = ", ".join(label.name for label in family.labels) or "none"
        lines.append(f"| `{family.name}` | {family.type} | {labels} | `{family.event}` | {family.help} |")
    lines += ["", "## Events", "", "| event | from | fields |", "| --- | --- | --- |"]
    for name, event in catalogue.events.items():
        fields = (f"{n}: {' or '.join(k) if isinstance(k, list) else k}" for n, k in event.fields.items())
        lines.append(f"| `{name}` | {event.from_} | {', '.join(fields)} |")
    return "\n".join(lines) + "\n"


def _read(path: Path | None, *, secrets: bool) -> tuple[Config, Secret | None, Catalogue]:
    if path is None:
        return Config(), None, shipped_catalogue(Lists())
    config, source, catalogue = load(path)
    if secrets:
        return config, token(config, source), catalogue
    file = config.events.token_file
    if file is not None and not file.is_file():
        print(f"warning: {source.error('.events.token_file', f'{file} cannot be read')}", file=sys.stderr)
    return config, None, catalogue


def _report(path: Path | None, config: Config, catalogue: Catalogue) -> None:
    lines = f"{catalogue.worst_case} of at most {config.max_series} lines in the worst case"
    print(f"OK {path or 'defaults'}: {len(catalogue.families)} families, {lines}")


def _announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
