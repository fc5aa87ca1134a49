"""Reads catalogue.yml into frozen families, events and domains, and refuses a catalogue that would do harm. Pure."""

import re
from typing import Annotated, Any, Literal

import msgspec

FORBIDDEN_LABELS = {"severity", "priority", "team", "alertname", "runbook", "le", "quantile", "job", "instance"}
OTHER = "other"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_INIT_LIMIT = 600  # label sets of one family that may stand at 0 from the start

Fields = dict[str, str | list[str]]


class CatalogueError(Exception):
    """The catalogue contradicts itself; the text names the family or event and the fix."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class DomainSettings(_Strict, frozen=True):
    """Either a closed set or the name of a list of exporter.yml."""

    values: list[str] = []
    from_: str = msgspec.field(default="", name="from")


class EventSettings(_Strict, frozen=True):
    """One kind of event: who may send it, and its fields."""

    from_: Literal["public", "private", "both"] = msgspec.field(name="from")
    fields: Fields


class LabelSettings(_Strict, frozen=True):
    """A label whose field has another name."""

    field: str
    domain: str


class FamilySettings(_Strict, frozen=True):
    """One metric family."""

    name: str
    type: Literal["counter", "histogram", "gauge"]
    help: Annotated[str, msgspec.Meta(min_length=1)]
    event: str
    labels: dict[str, str | LabelSettings] = {}
    value: str = ""
    buckets: str = ""
    when: dict[str, str] = {}
    init: bool = False


class CatalogueSettings(_Strict, frozen=True):
    """The whole file."""

    domains: dict[str, DomainSettings]
    buckets: dict[str, list[float]]
    events: dict[str, EventSettings]
    families: list[FamilySettings]


class Label(msgspec.Struct, frozen=True):
    """A label, the field of the event that gives it, and its domain."""

    name: str
    field: str
    domain: str
    values: tuple[str, ...]  # without `other`


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
    init: bool

    @property
    def worst_case(self) -> int:
        """Lines of exposition with every label set there could be."""
        sets = 1
        for label in self.labels:
            sets *= len(label.values) + (5 if label.domain == "status" else 1)
        return sets * (len(self.buckets) + 3 if self.type == "histogram" else 1)


class Catalogue(msgspec.Struct, frozen=True):
    """Every family and event."""

    families: tuple[Family, ...]
    events: dict[str, EventSettings]

    @property
    def worst_case(self) -> int:
        """Lines of exposition that no input can exceed."""
        return sum(family.worst_case for family in self.families)


def build(settings: CatalogueSettings, lists: dict[str, tuple[str, ...]]) -> Catalogue:
    """Check the catalogue against itself and the configured lists; CatalogueError names the first fault."""
    for name, bounds in settings.buckets.items():
        if bounds != sorted(set(bounds)):
            raise CatalogueError(f"buckets.{name}: write each bound once, in rising order")
    names = [family.name for family in settings.families]
    for name in names:
        if names.count(name) > 1:
            raise CatalogueError(f"families: {name} stands twice")
    families = tuple(_family(family, settings, lists) for family in settings.families)
    return Catalogue(families, settings.events)


def _family(given: FamilySettings, settings: CatalogueSettings, lists: dict[str, tuple[str, ...]]) -> Family:
    at = f"families.{given.name}"
    if given.event not in settings.events:
        raise CatalogueError(f"{at}: there is no event {given.event!r}; add it to events")
    fields = settings.events[given.event].fields
    _check_name(at, given)
    for field in (*given.when, *([given.value] if given.value else [])):
        if field not in fields:
            raise CatalogueError(f"{at}: the event {given.event} has no field {field!r}")
    if given.type == "histogram" and given.buckets not in settings.buckets:
        raise CatalogueError(f"{at}: there are no buckets {given.buckets!r}")
    labels = tuple(_label(at, name, label, fields, settings, lists) for name, label in given.labels.items())
    family = Family(
        name=given.name,
        type=given.type,
        help=given.help,
        event=given.event,
        labels=labels,
        value=given.value,
        buckets=tuple(settings.buckets[given.buckets]) if given.type == "histogram" else (),
        when=tuple(given.when.items()),
        init=given.init,
    )
    if given.init and family.worst_case > _INIT_LIMIT:
        raise CatalogueError(f"{at}: init would make {family.worst_case} series at once; leave init out")
    return family


def _check_name(at: str, given: FamilySettings) -> None:
    if not _NAME.fullmatch(given.name):
        raise CatalogueError(f"{at}: write the name in small letters, digits and underscores")
    if (given.type == "counter") != given.name.endswith("_total"):
        raise CatalogueError(f"{at}: the names of counters, and only theirs, end in _total")
    if given.type != "counter" and not given.value:
        raise CatalogueError(f"{at}: a {given.type} needs `value`, the field that it shows")


def _label(
    at: str,
    name: str,
    given: str | LabelSettings,
    fields: Fields,
    settings: CatalogueSettings,
    lists: dict[str, tuple[str, ...]],
) -> Label:
    field, domain = (name, given) if isinstance(given, str) else (given.field, given.domain)
    if not _NAME.fullmatch(name) or name in FORBIDDEN_LABELS:
        raise CatalogueError(f"{at}: a label must not be called {name!r}: Prometheus or an alert gives that one")
    if field not in fields:
        raise CatalogueError(f"{at}: the event has no field {field!r} for the label {name}")
    if domain not in settings.domains:
        raise CatalogueError(f"{at}: there is no domain {domain!r} for the label {name}")
    found = settings.domains[domain]
    values = tuple(found.values) or lists.get(found.from_, ())
    return Label(name, field, domain, values)


def read(data: Any) -> CatalogueSettings:  # noqa: ANN401  # whatever YAML holds
    """Turn parsed YAML into settings; CatalogueError names the place."""
    try:
        return msgspec.convert(data, CatalogueSettings)
    except msgspec.ValidationError as error:
        raise CatalogueError(f"catalogue: {error}") from error
