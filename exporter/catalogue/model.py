"""Reads catalogue.yml into frozen families, events and domains, and refuses a catalogue that would do harm. Pure."""

import re
from itertools import product
from math import prod
from typing import Any

import msgspec

from exporter.catalogue.file import CatalogueSettings, EventSettings, FamilySettings, Fields, LabelSettings

# An alert's own labels overwrite a series' labels of the same name, and the rule then fails to evaluate; the others
# are Prometheus' own.
FORBIDDEN_LABELS = {"severity", "priority", "team", "alertname", "runbook", "le", "quantile", "job", "instance"}
OTHER = "other"
SELF = "self"  # the "event" of what the exporter counts about itself
TIME = "@time"
PATHS = {"routes", "pages"}  # lists whose entries are templates of paths
WINDOWS = {"5m": 300, "1h": 3600, "1d": 86400, "7d": 604_800, "30d": 2_592_000}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_UNITS = ("seconds", "bytes", "ratio", "euros", "score", "rating")  # of histograms: prometheus.io/docs/practices/naming
_INIT_LIMIT = 600  # lines of one family that may stand at 0 from the start


class CatalogueError(Exception):
    """The catalogue contradicts itself; the text names the family or event and the fix."""


class Label(msgspec.Struct, frozen=True):
    """A label, the field of the event that gives it, and the values that it may have beside `other`."""

    name: str
    field: str
    domain: str
    values: tuple[str, ...]
    list_: str = ""  # the list of exporter.yml that the values come from
    discover: int = 0  # values beyond the list that are taken as they come

    @property
    def size(self) -> int:
        """Values that there can be, `other` and the classes of a status included."""
        return len(self.values) + self.discover + (5 if self.domain == "status" else 1)


class Family(msgspec.Struct, frozen=True):
    """One metric family, ready to be counted."""

    name: str
    type: str
    help: str
    event: str
    labels: tuple[Label, ...]
    value: str
    buckets: tuple[float, ...]
    when: tuple[tuple[str, str], ...]
    above: tuple[tuple[str, float], ...]
    divisor: int
    max_age: float
    distinct: str
    exemplars: bool
    init: bool
    limit: int

    @property
    def possible(self) -> int:
        """Label sets that the domains allow."""
        return prod(label.size for label in self.labels)

    @property
    def worst_case(self) -> int:
        """Lines of exposition with every label set that there can be: no input can make more."""
        return min(self.possible, self.limit + 1) * (len(self.buckets) + 3 if self.type == "histogram" else 1)

    @property
    def initial(self) -> list[tuple[str, ...]]:
        """Label sets that stand at 0 from the start."""
        if not self.labels:
            return [] if self.type == "gauge" else [()]  # a gauge that nobody has set shows nothing
        others = (() if self.event == SELF else (OTHER,)) if self.init else ()
        return list(product(*((*label.values, *others) for label in self.labels))) if self.init else []


class Catalogue(msgspec.Struct, frozen=True):
    """Every family and event."""

    families: tuple[Family, ...]
    events: dict[str, EventSettings]

    @property
    def worst_case(self) -> int:
        """Lines of exposition that no input can exceed."""
        return sum(family.worst_case for family in self.families)


class Limits(msgspec.Struct, frozen=True):
    """What exporter.yml adds: the values of the open domains, how many more may be discovered, and the family cap."""

    lists: dict[str, tuple[str, ...]]
    discover: dict[str, int] = {}
    family: int = 2000


def build(settings: CatalogueSettings, limits: Limits, own: dict[str, tuple[str, ...]]) -> Catalogue:
    """Check the catalogue against itself and the configured lists; CatalogueError names the first fault.

    ``own`` gives the values of the domains that the exporter fills itself.
    """
    for name, bounds in settings.buckets.items():
        if bounds != sorted(set(bounds)):
            raise CatalogueError(f"buckets.{name}: write each bound once, in rising order")
    names = [family.name for family in settings.families]
    for name in names:
        if names.count(name) > 1:
            raise CatalogueError(f"families: {name} stands twice")
    own = {**own, "families": tuple(names), "events": tuple(settings.events)}
    own["labels"] = tuple(sorted({label for f in settings.families if f.event != SELF for label in f.labels}))
    builder = _Builder(settings, limits, own)
    return Catalogue(tuple(builder.family(family) for family in settings.families), settings.events)


class _Builder:
    def __init__(self, settings: CatalogueSettings, limits: Limits, own: dict[str, tuple[str, ...]]) -> None:
        self._settings, self._limits, self._own = settings, limits, own

    def family(self, given: FamilySettings) -> Family:
        at = f"families.{given.name}"
        if given.event != SELF and given.event not in self._settings.events:
            raise CatalogueError(f"{at}: there is no event {given.event!r}; add it to events")
        fields = None if given.event == SELF else self._settings.events[given.event].fields
        _check_name(at, given)
        _check_kind(at, given)
        if fields is not None:
            _check_fields(at, given, fields)
        if given.type == "histogram" and given.buckets not in self._settings.buckets:
            raise CatalogueError(f"{at}: there are no buckets {given.buckets!r}")
        labels = tuple(self._label(at, name, label, given, fields) for name, label in given.labels.items())
        family = Family(
            name=given.name,
            type=given.type,
            help=given.help,
            event=given.event,
            labels=labels,
            value=given.value,
            buckets=tuple(self._settings.buckets[given.buckets]) if given.type == "histogram" else (),
            when=tuple(given.when.items()),
            above=tuple(given.above.items()),
            divisor=given.divisor,
            max_age=given.max_age,
            distinct=given.distinct,
            exemplars=given.exemplars,
            init=given.init,
            limit=given.limit or self._limits.family,
        )
        if given.init and family.worst_case > _INIT_LIMIT:
            raise CatalogueError(f"{at}: init would make {family.worst_case} series at once; leave init out")
        return family

    def _label(
        self, at: str, name: str, given: str | LabelSettings, family: FamilySettings, fields: Fields | None
    ) -> Label:
        field, domain = (name, given) if isinstance(given, str) else (given.field, given.domain)
        if not _NAME.fullmatch(name) or name in FORBIDDEN_LABELS:
            raise CatalogueError(f"{at}: a label must not be called {name!r}: Prometheus or an alert gives that one")
        if fields is not None and field not in fields and not family.distinct:
            raise CatalogueError(f"{at}: the event has no field {field!r} for the label {name}")
        if domain not in self._settings.domains:
            raise CatalogueError(f"{at}: there is no domain {domain!r} for the label {name}")
        found = self._settings.domains[domain]
        if found.self_:
            return Label(name, field, domain, self._own[found.self_])
        if not found.from_:
            return Label(name, field, domain, tuple(found.values))
        values = self._limits.lists.get(found.from_, ())
        return Label(name, field, domain, values, found.from_, self._limits.discover.get(found.from_, 0))


def _check_name(at: str, given: FamilySettings) -> None:
    if not _NAME.fullmatch(given.name):
        raise CatalogueError(f"{at}: write the name in small letters, digits and underscores")
    if (given.type == "counter") != given.name.endswith("_total"):
        raise CatalogueError(f"{at}: the names of counters, and only theirs, end in _total")
    if given.type == "histogram" and not given.name.endswith(_UNITS):
        raise CatalogueError(f"{at}: the name of a histogram ends in its unit: one of {', '.join(_UNITS)}")


def _check_kind(at: str, given: FamilySettings) -> None:
    if given.type != "counter" and not given.value and not given.distinct and given.event != SELF:
        raise CatalogueError(f"{at}: a {given.type} needs `value`, the field that it shows")
    if given.max_age and given.type != "gauge":
        raise CatalogueError(f"{at}: max_age is for gauges; a counter that disappears looks like a restart")
    if given.distinct and (given.type != "gauge" or list(given.labels) != ["window"]):
        raise CatalogueError(f"{at}: `distinct` makes a gauge with the one label `window`")
    if given.above and (given.type != "counter" or given.value or len(given.above) > 1):
        raise CatalogueError(f"{at}: `above` is for counters that count events, and for one field")
    if given.exemplars and given.type != "histogram":
        raise CatalogueError(f"{at}: exemplars are for histograms")


def _check_fields(at: str, given: FamilySettings, fields: Fields) -> None:
    used = [*given.when, *given.above, given.value, given.distinct]
    for field in used:
        if field and field != TIME and field not in fields:
            raise CatalogueError(f"{at}: the event {given.event} has no field {field!r}")


def read(data: Any) -> CatalogueSettings:  # noqa: ANN401  # whatever YAML holds
    """Turn parsed YAML into settings; CatalogueError names the place."""
    try:
        return msgspec.convert(data, CatalogueSettings)
    except msgspec.ValidationError as error:
        raise CatalogueError(f"catalogue: {error}") from error
