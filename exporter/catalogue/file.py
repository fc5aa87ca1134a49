"""The shape of catalogue.yml, as strict types: unknown keys are refused. Pure."""

from typing import Annotated, Literal

import msgspec

Fields = dict[str, str | list[str]]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class DomainSettings(_Strict, frozen=True):
    """A closed set, the name of a list of exporter.yml, or values that the exporter gives itself."""

    values: list[str] = []
    from_: str = msgspec.field(default="", name="from")
    self_: Literal["", "sources", "events", "reasons", "families", "labels"] = msgspec.field(default="", name="self")


class EventSettings(_Strict, frozen=True):
    """One kind of event: who may send it, and its fields."""

    from_: Literal["public", "private", "both"] = msgspec.field(name="from")
    fields: Fields
    settle: bool = False  # reported again under the same id as it grows; the last one counts


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
    above: dict[str, float] = {}
    divisor: Annotated[int, msgspec.Meta(ge=1)] = 1
    max_age: Annotated[float, msgspec.Meta(ge=0)] = 0
    distinct: str = ""
    exemplars: bool = False
    init: bool = False
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0


class CatalogueSettings(_Strict, frozen=True):
    """The whole file."""

    domains: dict[str, DomainSettings]
    buckets: dict[str, list[float]]
    events: dict[str, EventSettings]
    families: list[FamilySettings]
