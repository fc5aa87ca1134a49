"""The catalogue: the shipped one is sound, its faults are named, and a new metric needs nothing but a line in it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.catalogue.metrics_doc import document
from exporter.catalogue.model import CatalogueError
from exporter.config import Config, shipped_catalogue
from exporter.events.decode import Decoder, Schema
from exporter.registry.recorder import Recorder
from tests.exporter.example_exporter import a_catalogue

SHIPPED = yaml.safe_load(Path("exporter/catalogue/catalogue.yml").read_text("utf-8"))


def changed(**parts: Any) -> Any:  # noqa: ANN401  # YAML
    return {**SHIPPED, **parts}


def family(**keys: object) -> dict[str, object]:
    return {"name": "x_total", "type": "counter", "help": "X.", "event": "login", **keys}


def test_the_shipped_catalogue_is_sound() -> None:
    catalogue = shipped_catalogue(Config())
    assert len(catalogue.families) >= 100
    assert catalogue.worst_case < 20_000


@pytest.mark.parametrize(("event", "counter"), [("payment_completed", "revenue"), ("payment_refunded", "refunds")])
def test_no_currency_that_may_be_sent_goes_uncounted(event: str, counter: str) -> None:
    sent = set(SHIPPED["events"][event]["fields"]["currency"])
    families = {one["name"]: one for one in SHIPPED["families"]}
    counted = {code: families[f"payment_{counter}_{code.lower()}_total"] for code in sent}
    assert {code: one["when"]["currency"] for code, one in counted.items()} == {code: code for code in sent}
    assert {code: one.get("divisor", 1) for code, one in counted.items()} == {**dict.fromkeys(sent, 100), "VND": 1}


def test_a_new_metric_is_a_line_in_the_catalogue_and_nothing_else() -> None:
    data = changed(
        events={
            **SHIPPED["events"],
            "homework_handed_in": {"from": "private", "fields": {"class_type": "text", "late": "seconds?"}},
        },
        families=[
            family(name="homework_total", event="homework_handed_in", labels={"class_type": "class_type"}),
            family(
                name="homework_late_seconds", type="histogram", buckets="load", event="homework_handed_in", value="late"
            ),
            *(own for own in SHIPPED["families"] if own["event"] == "self"),
        ],
    )
    schema = Schema(a_catalogue(data))
    recorder = Recorder(a_catalogue(data), schema, b"key")
    body = b'{"type": "homework_handed_in", "data": {"class_type": "group", "late": 4.5}}'
    recorder.record(Decoder(schema.private(), 10).decode(body).events, "events", 1.0)
    assert recorder.series["homework_total"].cells["group",].value == 1
    late = recorder.series["homework_late_seconds"]
    assert late.cells[()].counts[late.family.buckets.index(5)] == 1
    assert (sum(late.cells[()].counts), late.cells[()].sum) == (1, 4.5)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (changed(buckets={**SHIPPED["buckets"], "db": [1, 0.5]}), "buckets.db"),
        (changed(families=[family(), family()]), "duplicate name x_total"),
        (changed(families=[family(event="nothing")]), "unknown event 'nothing'"),
        (changed(families=[family(name="x")]), "must end in _total"),
        (changed(families=[family(name="X_total")]), "lower-case"),
        (changed(families=[family(value="amount")]), "has no field 'amount'"),
        (changed(families=[family(type="histogram", name="x_seconds")]), "needs `value`"),
        (changed(families=[family(type="histogram", name="x")]), "must end in its unit"),
        (changed(families=[family(max_age=5)]), "max_age is for gauges"),
        (changed(families=[family(exemplars=True)]), "exemplars are for histograms"),
        (changed(families=[family(distinct="method")]), "needs a gauge with the single label"),
        (changed(families=[family(above={"x": 1})]), "has no field 'x'"),
        (changed(families=[family(labels={"severity": "auth_method"})]), "label name 'severity'"),
        (changed(families=[family(labels={"method": "nothing"})]), "unknown domain 'nothing'"),
        (changed(families=[family(labels={"colour": "auth_method"})]), "no field 'colour'"),
        (changed(families=[family(labels={"method": "auth_method"}, when={"x": "y"})]), "has no field 'x'"),
        (changed(families=[family(type="histogram", name="x_seconds", value="@time")]), "cannot observe a time"),
        (changed(familys=[]), "familys"),
    ],
)
def test_a_fault_is_named(data: dict[str, object], says: str) -> None:
    with pytest.raises(CatalogueError, match=re.escape(says)):
        a_catalogue(data)


def test_docs_metrics_is_fresh() -> None:
    fresh = document(shipped_catalogue(Config()))
    assert Path("docs/metrics.md").read_text("utf-8") == fresh, "run: python -m exporter metrics-doc > docs/metrics.md"
