"""Read, merge and write rules/tables/exporters/*.yml: what each generation of the real programs exposes."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import yaml

FOLDER = Path(__file__).resolve().parent / "tables/exporters"
# Added by Prometheus for every target.
OWN = {
    *("ALERTS", "ALERTS_FOR_STATE"),
    *("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"),
    *("scrape_series_added", "scrape_body_size_bytes", "scrape_sample_limit", "scrape_timeout_seconds"),
}
# Every target has these two; they are not stored.
TARGET = {"job", "instance"}
_SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_info")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the file has thousands of lines
HEAD = """\
# SCRAPED from the real programs of the generation {generation} by `python -m rules.scrape`. Do not edit: scrape.
# `labels` are in every series of a family, `some` only in some of them; job and instance are in all. A histogram or a
# summary is one line, and stands for its _bucket, _sum and _count.
"""


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One metric family of one job: type, labels, and the upper bounds of a histogram."""

    type: str
    labels: tuple[str, ...] = ()
    some: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the targets of one job expose, and the program's version if known."""

    version: str
    families: dict[str, Family]


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: programs installed together, e.g. those of one Debian release."""

    generation: str
    jobs: dict[str, Job]


def families(series: Iterable[Mapping[str, str]], types: Mapping[str, str]) -> dict[str, Family]:
    """Return the families of these series (label sets with `__name__`); `types` is Prometheus' metadata."""
    series_of_family: dict[str, list[Mapping[str, str]]] = {}
    for one in series:
        if one["__name__"] not in OWN and ":" not in one["__name__"]:
            series_of_family.setdefault(_family(one["__name__"], types), []).append(one)
    return {name: _described(members, _type(name, types)) for name, members in sorted(series_of_family.items())}


def _family(name: str, types: Mapping[str, str]) -> str:
    base = next((name.removesuffix(suffix) for suffix in _SUFFIXES[:3] if name.endswith(suffix)), name)
    return base if types.get(base) in {"histogram", "summary"} else name


def _type(name: str, types: Mapping[str, str]) -> str:
    """Look up a type; OpenMetrics metadata names counters without `_total`."""
    bare = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)
    return types.get(name) or types.get(bare) or "unknown"


def _described(members: list[Mapping[str, str]], kind: str) -> Family:
    apart = TARGET | {"__name__", "le", "quantile"}
    sets = [set(one) - apart for one in members]
    every = set.intersection(*sets)
    bounds = {float(one["le"]) for one in members if "le" in one} - {float("inf")}
    if kind == "histogram":
        return Family(kind, tuple(sorted(every)), tuple(sorted(set.union(*sets) - every)), tuple(sorted(bounds)))
    return Family(kind, tuple(sorted(every)), tuple(sorted(set.union(*sets) - every)))


def written(one: Generation) -> str:
    """Return the file: one sorted line per family, so that diffs between versions are short."""
    lines = [HEAD.format(generation=one.generation), f"generation: {one.generation}\njobs:\n"]
    for job, what in sorted(one.jobs.items()):
        lines.append(f'  {job}:\n    version: "{what.version}"\n    families:\n')
        for name, family in sorted(what.families.items()):
            lines.append(f"      {name}: {_flow(family)}\n")
    return "".join(lines)


def _flow(family: Family) -> str:
    parts = [f"type: {family.type}"]
    for key in ("labels", "some", "buckets"):
        values = getattr(family, key)
        if values:
            texts = (f"{value:.10g}" if isinstance(value, float | int) else value for value in values)
            parts.append(f"{key}: [{', '.join(texts)}]")
    return "{" + ", ".join(parts) + "}"


def read(folder: Path = FOLDER) -> list[Generation]:
    """Read every generation; ValueError names the file and its fault."""
    generations = []
    for path in sorted(folder.glob("*.yml")):
        try:
            content = yaml.load(path.read_text("utf-8"), Loader=_LOADER)  # noqa: S506  # one of the two safe ones
            generations.append(msgspec.convert(content, Generation))
        except (msgspec.ValidationError, yaml.YAMLError, OSError) as error:
            said = getattr(error, "problem", None) or error
            raise ValueError(f"{path}: {said}; run `make scrape`") from error
    if not generations:
        raise ValueError(f"{folder} is empty: run `make scrape`")
    return generations
