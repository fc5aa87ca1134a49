"""Record what the targets of a running Prometheus expose, in rules/tables/exporters/, for the lint.

`python -m rules.scrape --prometheus.url http://localhost:9090 --generation sid`. Give your own installation a name of
its own: the lint then judges the rules by what you run as well.
"""

import argparse
import json
import sys
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from exporter.config import Config, shipped_catalogue
from rules.exported import FOLDER, Family, Generation, Job, families, written

Ask = Callable[..., Any]


def asker(url: str) -> Ask:
    """Return a function that queries this Prometheus; it raises OSError or ValueError with the reason."""

    def ask(path: str, **words: str) -> Any:  # noqa: ANN401  # the API's JSON
        query = urlencode({key.replace("match", "match[]"): value for key, value in words.items()})
        with urlopen(f"{url.rstrip('/')}/api/v1/{path}?{query}", timeout=30) as answer:  # noqa: S310  # given by hand
            return json.load(answer)["data"]

    return ask


def jobs(ask: Ask, leave_out: set[str]) -> dict[str, Job]:
    """Return what the targets of each job expose, without the excluded families."""
    job_of_name: dict[str, Job] = {}
    names = {target["labels"]["job"] for target in ask("targets", state="active")["activeTargets"]}
    for name in sorted(names):
        selector = f'{{job="{name}"}}'
        told = ask("targets/metadata", match_target=selector)
        types = {one["metric"]: one["type"] for one in told if one["target"]["job"] == name}
        every = families(ask("series", match=selector), types)
        kept = {family: what for family, what in every.items() if family not in leave_out}
        job_of_name[name] = Job(_version(ask, name, every), kept)
    return job_of_name


def _version(ask: Ask, job: str, exported: dict[str, Family]) -> str:
    info = next((name for name in exported if name.startswith(job) and name.endswith("_build_info")), None)
    info_series = ask("series", match=f'{info}{{job="{job}"}}') if info else []
    return str(info_series[0].get("version", "")).partition("+")[0] if info_series else ""


def main(arguments: list[str]) -> int:
    """Return 0 if the file was written, 1 after printing an error."""
    parser = argparse.ArgumentParser(prog="python -m rules.scrape", description=__doc__)
    parser.add_argument("--prometheus.url", dest="url", default="http://localhost:9090")
    parser.add_argument("--generation", required=True, help="what to call this set of versions: sid, production, …")
    parser.add_argument("--output.dir", dest="folder", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    try:
        own = {family.name for family in shipped_catalogue(Config()).families}  # the catalogue says more of them
        generation = Generation(options.generation, jobs(asker(options.url), own))
        path = options.folder / f"{options.generation}.yml"
        path.write_text(written(generation), "utf-8")
    except (OSError, HTTPException, ValueError, KeyError) as error:
        sys.stderr.write(f"{options.url}: cannot read its targets: {error} (is it a running Prometheus?)\n")
        return 1
    count = sum(len(job.families) for job in generation.jobs.values())
    sys.stdout.write(f"{path}: {count} families of {len(generation.jobs)} jobs\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
