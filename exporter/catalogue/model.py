"""Merges catalogue files into frozen families and events, and refuses a catalogue that contradicts itself. Pure."""

import re
from collections.abc import Iterable
from itertools import chain, product
from math import prod
from typing import Annotated, Literal

import msgspec

from exporter.catalogue.label_values import OTHER, Label

# The labels of an alert would overwrite those of a series, and the rule then fails to evaluate; the others are
# Prometheus' own.
FORBIDDEN_LABELS = {"severity", "priority", "team", "alertname", "runbook", "le", "quantile", "job", "instance"}
SELF = "self"  # the "event" of what the exporter counts about itself
TIME = "@time"
WINDOWS = {"5m": 300, "1h": 3600, "1d": 86400, "7d": 604_800, "30d": 2_592_000}
# The types that a field may have; what each holds stands in exporter/events/decode.py.
FIELD_TYPES = {
    *("text", "path", "status", "seconds", "elapsed", "score", "rating", "ratio", "number", "count", "amount"),
    *("timestamp", "identity", "switch"),
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# How the name of a histogram may end: prometheus.io/docs/practices/naming
_UNITS = ("_seconds", "_bytes", "_ratio", "_score", "_rating")
_AMOUNT = "amount"  # the type of a field that holds money
_CURRENCY = re.compile(r".*_[a-z]{3}")
_INIT_LIMIT = 600  # lines of one family that may be exposed as 0 from the start


Fields = dict[str, str | list[str]]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys of a catalogue file are refused."""


class DomainSettings(Strict, frozen=True):
    """A closed set, the name of a list in exporter.yml (with its default), or values that the exporter sets itself."""

    values: list[str] = []
    from_: str = msgspec.field(default="", name="from")
    self_: Literal["", "sources", "events", "reasons", "families", "labels"] = msgspec.field(default="", name="self")


class EventSettings(Strict, frozen=True):
    """One kind of event: who may send it, and its fields."""

    from_: Literal["public", "private", "both"] = msgspec.field(name="from")
    fields: Fields
    settle: bool = False  # reported again under the same id as it grows; only the last report counts


class LabelSettings(Strict, frozen=True):
    """A label whose field has another name."""

    field: str
    domain: str


class FamilySettings(Strict, frozen=True):
    """One metric family, as it is written."""

    name: str
    type: Literal["counter", "histogram", "gauge"]
    help: Annotated[str, msgspec.Meta(min_length=1)]
    event: str
    labels: dict[str, str | LabelSettings] = {}
    value: str = ""
    buckets: str = ""
    when: dict[str, str] = {}
    above: dict[str, float] = {}
    divisor: Annotated[int, msgspec.Meta(ge=1)] = 1
    max_age: Annotated[float, msgspec.Meta(ge=0)] = 0
    distinct: str = ""
    exemplars: bool = False
    init: bool = False
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0


class CatalogueSettings(Strict, frozen=True):
    """The whole of a catalogue file."""

    domains: dict[str, DomainSettings] = {}
    buckets: dict[str, list[float]] = {}
    events: dict[str, EventSettings] = {}
    families: list[FamilySettings] = []


class CatalogueError(Exception):
    """The catalogue is invalid; the text names the family or event and the fix."""


class Family(msgspec.Struct, frozen=True):
    """One metric family, checked, with its label values and bucket bounds."""

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
        """How many label sets the domains allow."""
        return prod(label.size for label in self.labels)

    @property
    def worst_case(self) -> int:
        """Lines of /metrics with every possible label set: no input can make more."""
        return min(self.possible, self.limit + 1) * (len(self.buckets) + 3 if self.type == "histogram" else 1)

    @property
    def initial(self) -> list[tuple[str, ...]]:
        """Label sets that are exposed as 0 from the start."""
        if not self.labels:
            return [] if self.type == "gauge" else [()]  # a gauge that was never set is not exposed
        others = (() if self.event == SELF else (OTHER,)) if self.init else ()
        return list(product(*((*label.values, *others) for label in self.labels))) if self.init else []


class Catalogue(msgspec.Struct, frozen=True):
    """Every family and event."""

    families: tuple[Family, ...]
    events: dict[str, EventSettings]
    lists: frozenset[str] = frozenset()  # the lists of exporter.yml that labels take their values from

    @property
    def worst_case(self) -> int:
        """Lines of /metrics that no input can exceed."""
        return sum(family.worst_case for family in self.families)


class Limits(msgspec.Struct, frozen=True):
    """What exporter.yml adds: the values of open domains, how many more may be discovered, and the cap of a family."""

    lists: dict[str, tuple[str, ...]]
    discover: dict[str, int] = {}
    family: int = 2000


def merged(own: CatalogueSettings, files: Iterable[CatalogueSettings]) -> CatalogueSettings:
    """Put files together; an entry of a later one replaces that of the same name, except those of ``own``.

    ``own`` has the families that the exporter counts itself, which come last.
    """
    domains, buckets, events = dict(own.domains), dict(own.buckets), dict(own.events)
    families: dict[str, FamilySettings] = {}
    fixed = set(own.domains) | {family.name for family in own.families}
    for file in files:
        names = [family.name for family in file.families]
        _check_own(chain(file.domains, names), fixed, file.families)
        _check_duplicates(names)
        domains |= file.domains
        buckets |= file.buckets
        events |= file.events
        families |= dict(zip(names, file.families, strict=True))
    return CatalogueSettings(
        domains=domains, buckets=buckets, events=events, families=[*families.values(), *own.families]
    )


def _check_own(names: Iterable[str], fixed: set[str], families: Iterable[FamilySettings]) -> None:
    for name in names:
        if name in fixed:
            raise CatalogueError(f"{name}: the exporter itself has an entry of this name; choose another")
    for family in families:
        if family.event == SELF:
            raise CatalogueError(f"families.{family.name}: `event: self` is for what the exporter itself counts")


def _check_duplicates(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise CatalogueError(f"families: duplicate name {name}")


def build(settings: CatalogueSettings, limits: Limits, own: dict[str, tuple[str, ...]]) -> Catalogue:
    """Check the catalogue against itself and the configured lists; CatalogueError names the first fault.

    ``own`` has the values of the domains that the exporter sets itself.
    """
    for name, bounds in settings.buckets.items():
        if bounds != sorted(set(bounds)):
            raise CatalogueError(f"buckets.{name}: bounds must be unique and in ascending order")
    for event, written in settings.events.items():
        _check_event(f"events.{event}", event, written.fields)
    names = [family.name for family in settings.families]
    _check_duplicates(names)
    own = {**own, "families": tuple(names), "events": tuple(settings.events)}
    own["labels"] = tuple(sorted({label for f in settings.families if f.event != SELF for label in f.labels}))
    builder = _Builder(settings, limits, own)
    families = tuple(builder.family(family) for family in settings.families)
    lists = frozenset(domain.from_ for domain in settings.domains.values() if domain.from_)
    return Catalogue(families, settings.events, lists)


def _check_event(at: str, name: str, fields: Fields) -> None:
    for word in (name, *fields):
        if not _NAME.fullmatch(word):
            raise CatalogueError(f"{at}: invalid name {word!r} (expected lower-case letters, digits and underscores)")
    for field, written in fields.items():
        if isinstance(written, str) and written.removesuffix("?") not in FIELD_TYPES:
            expected = f"expected {', '.join(sorted(FIELD_TYPES))}, or a list of words"
            raise CatalogueError(f"{at}.{field}: unknown type {written!r} ({expected})")
        if not written:
            raise CatalogueError(f"{at}.{field}: an empty list of words")


class _Builder:
    def __init__(self, settings: CatalogueSettings, limits: Limits, own: dict[str, tuple[str, ...]]) -> None:
        self._settings, self._limits, self._own = settings, limits, own

    def family(self, settings: FamilySettings) -> Family:
        at = f"families.{settings.name}"
        if settings.event != SELF and settings.event not in self._settings.events:
            raise CatalogueError(f"{at}: unknown event {settings.event!r}; add it to events")
        fields = None if settings.event == SELF else self._settings.events[settings.event].fields
        _check_name(at, settings)
        _check_unit(at, settings, fields)
        _check_kind(at, settings)
        if fields is not None:
            _check_fields(at, settings, fields)
        if settings.type == "histogram" and settings.buckets not in self._settings.buckets:
            raise CatalogueError(f"{at}: unknown buckets {settings.buckets!r}")
        labels = tuple(self._label(at, name, label, settings, fields) for name, label in settings.labels.items())
        family = Family(
            name=settings.name,
            type=settings.type,
            help=settings.help,
            event=settings.event,
            labels=labels,
            value=settings.value,
            buckets=tuple(self._settings.buckets[settings.buckets]) if settings.type == "histogram" else (),
            when=tuple(settings.when.items()),
            above=tuple(settings.above.items()),
            divisor=settings.divisor,
            max_age=settings.max_age,
            distinct=settings.distinct,
            exemplars=settings.exemplars,
            init=settings.init,
            limit=settings.limit or self._limits.family,
        )
        if settings.init and family.worst_case > _INIT_LIMIT:
            raise CatalogueError(
                f"{at}: init would create {family.worst_case} lines at once (limit {_INIT_LIMIT}); remove it"
            )
        return family

    def _label(
        self, at: str, name: str, written: str | LabelSettings, family: FamilySettings, fields: Fields | None
    ) -> Label:
        field, domain = (name, written) if isinstance(written, str) else (written.field, written.domain)
        if not _NAME.fullmatch(name) or name in FORBIDDEN_LABELS:
            raise CatalogueError(f"{at}: invalid or reserved label name {name!r}")
        if fields is not None and field not in fields and not family.distinct:
            raise CatalogueError(f"{at}: label {name}: the event has no field {field!r}")
        if domain not in self._settings.domains:
            raise CatalogueError(f"{at}: label {name}: unknown domain {domain!r}")
        source = self._settings.domains[domain]
        if source.self_:
            return Label(name, field, domain, self._own[source.self_])
        if not source.from_:
            return Label(name, field, domain, tuple(source.values), paths=_is_path(fields, field))
        values = self._limits.lists.get(source.from_, tuple(source.values))
        discover = self._limits.discover.get(source.from_, 0)
        return Label(name, field, domain, values, source.from_, discover, paths=_is_path(fields, field))


def _check_name(at: str, family: FamilySettings) -> None:
    if not _NAME.fullmatch(family.name):
        raise CatalogueError(f"{at}: invalid name (expected lower-case letters, digits and underscores)")
    if (family.type == "counter") != family.name.endswith("_total"):
        raise CatalogueError(f"{at}: names of counters, and no others, must end in _total")


def _check_unit(at: str, family: FamilySettings, fields: Fields | None) -> None:
    if family.type != "histogram":
        return
    if fields is not None and fields.get(family.value) == _AMOUNT:
        if not _CURRENCY.fullmatch(family.name):
            raise CatalogueError(f"{at}: the name of a histogram of amounts must end in the currency, e.g. _eur")
    elif not family.name.endswith(_UNITS):
        raise CatalogueError(f"{at}: the name of a histogram must end in its unit ({', '.join(_UNITS)})")


def _check_kind(at: str, family: FamilySettings) -> None:
    if family.type != "counter" and not family.value and not family.distinct and family.event != SELF:
        raise CatalogueError(f"{at}: a {family.type} needs `value`, the field that it shows")
    if family.max_age and family.type != "gauge":
        raise CatalogueError(f"{at}: max_age is for gauges only; a counter that disappears looks like a restart")
    if family.distinct and (family.type != "gauge" or list(family.labels) != ["window"]):
        raise CatalogueError(f"{at}: `distinct` needs a gauge with the single label `window`")
    if family.above and (family.type != "counter" or family.value or len(family.above) > 1):
        raise CatalogueError(f"{at}: `above` is for counters of events only, with one field")
    if family.exemplars and family.type != "histogram":
        raise CatalogueError(f"{at}: exemplars are for histograms only")


def _check_fields(at: str, family: FamilySettings, fields: Fields) -> None:
    used = [*family.when, *family.above, family.value, family.distinct]
    for field in used:
        if field and field != TIME and field not in fields:
            raise CatalogueError(f"{at}: the event {family.event} has no field {field!r}")
    if family.type == "histogram" and str(fields.get(family.value, TIME)).startswith(("timestamp", TIME)):
        raise CatalogueError(f"{at}: a histogram cannot observe a time")


def _is_path(fields: Fields | None, field: str) -> bool:
    return fields is not None and str(fields.get(field)).removesuffix("?") == "path"
