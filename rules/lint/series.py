"""Every series that somebody exports: the scraped programs, the catalogue, the receiver, and Prometheus itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from exporter.config import load
from receiver.metrics import Metrics
from rules import exported
from rules.exported import Family, Generation
from rules.site import ROOT, TABLE, read

_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
_OF_ALERTS = ("alertname", "alertstate", "severity", "priority", "team")


@dataclass(frozen=True, slots=True)
class Series:
    """One name: its type, its labels, the jobs that have it (none: all), and the generations that do not."""

    name: str
    type: str
    certain: frozenset[str]
    possible: frozenset[str]
    jobs: frozenset[str]
    buckets: tuple[float, ...] = ()
    missing: frozenset[str] = frozenset()  # generations that have the job and not the name
    newer: frozenset[str] = frozenset()  # labels that no series of some generation has

    @property
    def counts(self) -> bool:
        """Say whether it only grows."""
        return self.type == "counter" or (
            self.type == "histogram" and self.name.endswith(("_bucket", "_sum", "_count"))
        )

    @property
    def own(self) -> frozenset[str]:
        """Labels that are on every series and more than where it came from."""
        return self.certain - exported.TARGET - {"le", "quantile"}


@cache
def known(root: Path = ROOT) -> Mapping[str, Series]:
    """Give them all by name, read once; ValueError names a table that cannot be read."""
    site = read(root / TABLE)
    series_of_name = {one.name: one for one in _scraped(exported.read(root / "rules/tables/exporters"))}
    own = (*_own(), *_of_catalogue(root, site.app), *_of_receiver(site.job("receiver")))
    return series_of_name | {one.name: one for one in own}


def _scraped(generations: list[Generation]) -> Iterator[Series]:
    seen: dict[str, dict[str, list[tuple[str, Family]]]] = {}
    for generation in generations:
        for job, what in generation.jobs.items():
            for name, family in what.families.items():
                seen.setdefault(name, {}).setdefault(generation.generation, []).append((job, family))
    for name, places in seen.items():
        families = [family for place in places.values() for _, family in place]
        jobs = frozenset(job for place in places.values() for job, _ in place)
        those = {g.generation for g in generations if jobs & set(g.jobs)}
        everywhere = [frozenset(lab for _, f in place for lab in (*f.labels, *f.some)) for place in places.values()]
        possible = frozenset().union(*everywhere)
        yield from _expanded(
            Series(
                name,
                families[-1].type,
                frozenset.intersection(*(frozenset(family.labels) for family in families)),
                possible,
                jobs,
                families[-1].buckets,
                frozenset(those - set(places)),
                possible - frozenset.intersection(*everywhere),
            )
        )


def _expanded(family: Series) -> Iterator[Series]:
    """Give the series of a family, each with the labels of its target."""
    for suffix in _PARTS.get(family.type, ("",)):
        inner = {"_bucket": "le", "": "quantile"}.get(suffix) if family.type in _PARTS else None
        more = exported.TARGET | ({inner} if inner else set())
        yield Series(
            family.name + suffix,
            family.type,
            family.certain | more,
            family.possible | more,
            family.jobs,
            family.buckets,
            family.missing,
            family.newer,
        )


def _plain(name: str, kind: str, labels: Iterable[str], job: str, buckets: tuple[float, ...] = ()) -> Iterator[Series]:
    names = frozenset(labels)
    return _expanded(Series(name, kind, names, names, frozenset([job]), buckets))


def _own() -> Iterator[Series]:
    for name in exported.OWN:
        more = frozenset(_OF_ALERTS if name.startswith("ALERTS") else ())
        target = frozenset(exported.TARGET)
        yield Series(name, "gauge", target - more, target | more, frozenset())


def _of_catalogue(root: Path, job: str) -> Iterator[Series]:
    for family in load(root / "deploy/config/exporter.yml")[2].families:
        names = [label.name for label in family.labels]
        yield from _plain(family.name, family.type, names, job, family.buckets)


def _of_receiver(job: str) -> Iterator[Series]:
    for metric in vars(Metrics([])).values():
        if isinstance(metric, MetricWrapperBase):
            kind = metric._type or ""  # noqa: SLF001  # the library tells names and labels of what has no series yet nowhere else
            labels = metric._labelnames  # noqa: SLF001
            name = metric._name + ("_total" if kind == "counter" else "")  # noqa: SLF001
            bounds = getattr(metric, "_upper_bounds", ())
            yield from _plain(name, kind, labels, job, tuple(bounds)[:-1])
