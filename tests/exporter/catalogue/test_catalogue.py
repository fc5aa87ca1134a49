"""The catalogue: the shipped one is sound, its faults are named, and a new metric needs nothing but a line in it."""

import re
from pathlib import Path

import pytest

from exporter.catalogue.metrics_doc import document
from exporter.catalogue.model import CatalogueError
from exporter.config import Config, shipped_catalogue
from exporter.events.decode import Decoder, Schema
from exporter.registry.recorder import Recorder
from tests.exporter.example_exporter import SHIPPED, a_catalogue

SCHOOL = SHIPPED[1]


def family(**keys: object) -> dict[str, object]:
    return {"name": "x_total", "type": "counter", "help": "X.", "event": "login", **keys}


def test_the_shipped_catalogue_is_sound() -> None:
    catalogue = shipped_catalogue(Config())
    assert len(catalogue.families) >= 100
    assert catalogue.worst_case < 20_000


@pytest.mark.parametrize(("event", "counter"), [("payment_completed", "revenue"), ("payment_refunded", "refunds")])
def test_no_currency_that_may_be_sent_goes_uncounted(event: str, counter: str) -> None:
    sent = set(SCHOOL["events"][event]["fields"]["currency"])
    families = {one["name"]: one for one in SCHOOL["families"]}
    counted = {code: families[f"payment_{counter}_{code.lower()}_total"] for code in sent}
    assert {code: one["when"]["currency"] for code, one in counted.items()} == {code: code for code in sent}
    assert {code: one.get("divisor", 1) for code, one in counted.items()} == {**dict.fromkeys(sent, 100), "VND": 1}


def test_a_new_metric_is_a_line_in_the_catalogue_and_nothing_else() -> None:
    fields = {"class_type": "text", "late": "seconds?"}
    late = {"name": "homework_late_seconds", "type": "histogram", "buckets": "load", "value": "late"}
    data = {
        "events": {"homework_handed_in": {"from": "private", "fields": fields}},
        "families": [
            family(name="homework_total", event="homework_handed_in", labels={"class_type": "class_type"}),
            family(**late, event="homework_handed_in"),
        ],
    }
    schema = Schema(a_catalogue(data))
    recorder = Recorder(a_catalogue(data), schema, b"key")
    body = b'{"type": "homework_handed_in", "data": {"class_type": "group", "late": 4.5}}'
    recorder.record(Decoder(schema.private(), 10).decode(body).events, "events", 1.0)
    assert recorder.series["homework_total"].cells["group",].value == 1
    series = recorder.series["homework_late_seconds"]
    assert series.cells[()].counts[series.family.buckets.index(5)] == 1
    assert (sum(series.cells[()].counts), series.cells[()].sum) == (1, 4.5)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"buckets": {"db": [1, 0.5]}}, "buckets.db"),
        ({"families": [family(), family()]}, "duplicate name x_total"),
        ({"families": [family(event="nothing")]}, "unknown event 'nothing'"),
        ({"families": [family(name="x")]}, "must end in _total"),
        ({"families": [family(name="X_total")]}, "lower-case"),
        ({"families": [family(value="amount")]}, "has no field 'amount'"),
        ({"families": [family(type="histogram", name="x_seconds")]}, "needs `value`"),
        ({"families": [family(type="histogram", name="x")]}, "must end in its unit"),
        ({"families": [family(max_age=5)]}, "max_age is for gauges"),
        ({"families": [family(exemplars=True)]}, "exemplars are for histograms"),
        ({"families": [family(distinct="method")]}, "needs a gauge with the single label"),
        ({"families": [family(above={"x": 1})]}, "has no field 'x'"),
        ({"families": [family(labels={"severity": "auth_method"})]}, "label name 'severity'"),
        ({"families": [family(labels={"method": "nothing"})]}, "unknown domain 'nothing'"),
        ({"families": [family(labels={"colour": "auth_method"})]}, "no field 'colour'"),
        ({"families": [family(labels={"method": "auth_method"}, when={"x": "y"})]}, "has no field 'x'"),
        ({"families": [family(type="histogram", name="x_seconds", value="@time")]}, "cannot observe a time"),
        ({"families": [family(event="self")]}, "is for what the exporter itself counts"),
        ({"families": [family(name="exporter_batches_total")]}, "exporter_batches_total: the exporter itself has"),
        ({"domains": {"source": {"values": ["x"]}}}, "source: the exporter itself has"),
        ({"events": {"x": {"from": "private", "fields": {"y": "amonut"}}}}, "events.x.y: unknown type 'amonut'"),
        ({"events": {"x": {"from": "private", "fields": {"y": []}}}}, "events.x.y: an empty list"),
        ({"events": {"x-y": {"from": "private", "fields": {}}}}, "invalid name 'x-y'"),
        (
            {"families": [family(name="x_in_kroner", type="histogram", event="payment_completed", value="amount")]},
            "must end in the currency",
        ),
    ],
)
def test_a_fault_is_named(data: dict[str, object], says: str) -> None:
    with pytest.raises(CatalogueError, match=re.escape(says)):
        a_catalogue(data)


def test_docs_metrics_is_fresh() -> None:
    fresh = document(shipped_catalogue(Config()))
    assert Path("docs/metrics.md").read_text("utf-8") == fresh, "run: python -m exporter metrics-doc > docs/metrics.md"
