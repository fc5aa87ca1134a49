"""The served OpenAPI file is true: what it allows is accepted, what is answered is described, and never a 500."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.events.decode import MAX_TEXT, DecodeError, Decoder, Schema
from exporter.web.openapi import document
from tests.exporter.example_exporter import ORIGIN, the_example
from tests.exporter.test_process import TOKEN, Process

CATALOGUE = the_example()[1]
SCHEMA = Schema(CATALOGUE)
DECODER = Decoder(SCHEMA.types, 10)
DOCUMENT = document(
    Decoder(SCHEMA.private(), 1000, "ServerBatch"), Decoder(SCHEMA.public(), 100, "BrowserBatch"), "0", "/api/pulse"
)
SCHEMAS = DOCUMENT["components"]["schemas"]


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    exporter = Process(tmp_path)
    await exporter.start()
    yield exporter
    await exporter.stop()


async def test_it_is_served(process: Process) -> None:
    status, text = await process.get("/openapi.json")
    assert (status, set(json.loads(text)["paths"])) == (200, set(DOCUMENT["paths"]))


@pytest.mark.parametrize("name", sorted(CATALOGUE.events))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data())
def test_what_it_allows_is_an_event(name: str, data: Any) -> None:  # noqa: ANN401  # hypothesis' own type is private
    schema = data_of(name)
    optional = {field: kind for field, kind in schema["properties"].items() if field not in schema["required"]}
    required = {field: _values(schema["properties"][field]) for field in schema["required"]}
    values = st.fixed_dictionaries(required, optional={field: _values(kind) for field, kind in optional.items()})
    event = {"type": name, "data": data.draw(values)}
    assert DECODER.event(json.dumps(event).encode()).type == name


def data_of(name: str) -> dict[str, Any]:
    """The schema of an event's data."""
    schema = SCHEMAS[SCHEMAS[name]["properties"]["data"]["$ref"].rpartition("/")[2]]
    assert isinstance(schema, dict)
    return schema


def test_the_document_has_the_bounds_of_the_decoder() -> None:
    assert SCHEMAS["ServerBatch"]["properties"]["events"]["maxItems"] == 1000
    assert SCHEMAS["BrowserBatch"]["properties"]["events"]["maxItems"] == 100
    assert SCHEMAS["Client"]["properties"]["sample"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1}
    duration = data_of("http_request")["properties"]["duration"]
    assert duration["anyOf"] == [{"type": "number", "minimum": 0, "maximum": 3600}, {"type": "null"}]
    assert data_of("payment_refunded")["properties"]["amount"]["description"] == "in the currency's smallest unit"
    assert "device" not in data_of("click")["properties"]
    assert data_of("click")["additionalProperties"] is False
    posts = DOCUMENT["paths"]["/api/events"]["post"], DOCUMENT["paths"]["/api/pulse"]["post"]
    assert "1024 KiB" in posts[0]["responses"]["413"]["description"]
    assert "64 KiB" in posts[1]["responses"]["413"]["description"]


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of(*(_values(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("format") == "date-time":
        return st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat())
    low, high = schema.get("minimum"), schema.get("maximum")
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "string": st.text(min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 0), 40)),
        "integer": st.integers(low, high),
        "number": st.floats(low, high) | st.integers(low, None if high is None else int(high)),
    }
    return kinds[schema["type"]]


@pytest.mark.parametrize("name", sorted(name for name, event in CATALOGUE.events.items() if event.fields))
def test_what_it_forbids_is_none(name: str) -> None:
    schema = data_of(name)
    for field, limits in schema["properties"].items():
        wrong: list[object] = [{}, []]
        wrong += [limits["maximum"] + 1, limits["minimum"] - 1] if "maximum" in limits else []
        # A longer text or path is cut, and its event counts; the description says what is kept of it.
        wrong += ["x" * (limits["maxLength"] + 1)] if limits.get("maxLength", MAX_TEXT) != MAX_TEXT else []
        for value in wrong:
            event = {"type": name, "data": {**_smallest(schema), field: value}}
            with pytest.raises(DecodeError) as caught:
                DECODER.event(json.dumps(event).encode())
            assert caught.value.field == f"data.{field}"
    for needed in schema["required"]:
        data = {field: value for field, value in _smallest(schema).items() if field != needed}
        with pytest.raises(DecodeError):
            DECODER.event(json.dumps({"type": name, "data": data}).encode())


def _smallest(schema: dict[str, Any]) -> dict[str, object]:
    event = {}
    for field in schema["required"]:
        kind = schema["properties"][field]
        simple = {"string": "x", "boolean": True}.get(kind.get("type"), kind.get("minimum", 1))
        event[field] = kind["enum"][0] if "enum" in kind else simple
    return event


@pytest.mark.parametrize(
    ("phases", "examples"),
    [("examples,fuzzing", "1"), pytest.param("examples,coverage,fuzzing", "10", marks=pytest.mark.slow)],
)
async def test_a_fuzzer_finds_no_answer_that_is_not_described(process: Process, phases: str, examples: str) -> None:
    process.write(lambda config: config["browser"].pop("listen"))
    process.write(lambda config: config["browser"].update(drop_bots=False))
    await process.stop()
    await process.start()
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{process.port}/openapi.json"]
    headers = ["-H", f"Authorization: Bearer {TOKEN}", "-H", f"Origin: {ORIGIN}"]
    options = ["--checks", checks, "--max-examples", examples, "--phases", phases, "--seed", "7"]
    run = await asyncio.create_subprocess_exec(
        *command, *headers, *options, "--no-color", stdout=-1, stderr=-1, cwd=process.folder
    )
    output, errors = await run.communicate()
    assert run.returncode == 0, output.decode()[-6000:] + errors.decode()[-2000:]
