"""`python -m exporter support-bundle`: what a bug report needs, in one file, without secrets and business figures."""

import argparse
import re
from datetime import datetime

import yaml

from exporter.catalogue.model import Catalogue
from exporter.config import Config, load, shipped_catalogue
from process import support_bundle
from process.addresses import own_url
from process.errors import clean_lines
from process.redacted import redacted
from process.settings import SettingsError

# Of /metrics, what the exporter counts of itself: the rest is the business of whoever runs it.
_OWN = re.compile(r"(?:# (?:HELP|TYPE|UNIT) )?(?:exporter|process|python)_")
_ABOUT = """\
A support bundle of the exporter. Secrets, people's mail addresses and queries of URLs are taken out, and so are all
metrics but the exporter's own. It still has names of hosts and of what you measure: look through it before you send it.

exporter.yml   the configuration, without what has its default
versions.txt   of the program, of Python and of its packages
catalogue.txt  the families, and how many lines each may have
storage.txt    the files of journal and snapshot
ready.txt      what /-/ready says
metrics.txt    what /metrics says of the exporter itself
exporter.log   the end of the log, if --log.file was given
"""


def write(options: argparse.Namespace, now: datetime) -> str:
    """Write the bundle, and give what to say of it; what could not be had is said inside it."""
    return support_bundle.write(options.out, {"README.txt": _ABOUT, **_collected(options)}, now, "exporter")


def _collected(options: argparse.Namespace) -> dict[str, str]:
    """Give each file's text. Of a configuration that cannot be read, only its errors are known."""
    config, catalogue = Config(), shipped_catalogue(Config())
    if options.config is not None:
        try:
            config, _, catalogue = load(options.config)
        except SettingsError as error:
            errors = clean_lines(f"# cannot be read:\n{error}\n", ())
            return {"exporter.yml": errors, "versions.txt": support_bundle.versions("exporter", ())}
    named = (config.events.token_file, config.replicas.secret_file)
    plain, secrets = redacted(config, [file for file in named if file is not None])
    ready, metrics = support_bundle.asked(options.url or own_url(config.metrics_listen or config.listen))
    files = {
        "exporter.yml": yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=1000),
        "versions.txt": support_bundle.versions("exporter", ()),
        "catalogue.txt": _families(catalogue),
        "storage.txt": _storage(config),
        "ready.txt": ready,
        "metrics.txt": _own(metrics),
    }
    if options.log:
        files["exporter.log"] = support_bundle.end_of(options.log)
    return {name: clean_lines(text, secrets) for name, text in files.items()}


def _families(catalogue: Catalogue) -> str:
    lines = [f"{family.name}: at most {family.worst_case} lines" for family in catalogue.families]
    return "\n".join([f"at most {catalogue.worst_case} lines of /metrics", *lines]) + "\n"


def _storage(config: Config) -> str:
    folder = config.storage.path
    if folder is None:
        return "none\n"
    try:
        found = sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror})\n"
    return "".join(f"{name}  {size:,} bytes\n" for name, size in found) or f"{folder} is empty\n"


def _own(metrics: str) -> str:
    """Leave the exporter's own series, and what is said in their place if there are none."""
    lines = metrics.split("\n")
    if lines[0].startswith("# http"):  # could not be had
        return metrics
    return "\n".join(line for line in lines if _OWN.match(line)) + "\n"
