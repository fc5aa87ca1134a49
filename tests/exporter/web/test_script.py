"""The browser client as it is served: small, cacheable, checkable."""

import base64
import gzip
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.exporter.example_exporter import Client, Time, an_application, an_exporter

BUILT = Path("exporter/rum/rum.js")
PLAIN, PACKED = BUILT.read_bytes(), BUILT.with_suffix(".js.br").read_bytes()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with TestClient(TestServer(an_application(an_exporter(Time()))), auto_decompress=False) as client:
        yield client


def test_it_is_less_than_7_kilobytes_packed() -> None:
    assert len(PACKED) < 7000


async def test_it_is_served_packed_or_not(client: Client) -> None:
    plain = await client.get("/rum.js", headers={"Accept-Encoding": "gzip;q=0, br;q=0"})
    assert await plain.read() == PLAIN
    assert plain.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "Content-Encoding" not in plain.headers
    packed = await client.get("/rum.js", headers={"Accept-Encoding": "gzip, deflate, br"})
    assert packed.headers["Content-Encoding"] == "br"
    assert await packed.read() == PACKED
    zipped = await client.get("/rum.js", headers={"Accept-Encoding": "gzip, br;q=0.0"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await zipped.read()) == PLAIN
    assert len({answer.headers["ETag"] for answer in (plain, packed, zipped)}) == 3
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("headers", "coding"),
    [
        ({"Accept-Encoding": "*"}, "br"),
        ({"Accept-Encoding": "*;q=0"}, None),
        ({"Accept-Encoding": "br;q=0, *"}, "gzip"),
        ({"Accept-Encoding": "identity"}, None),
        ({"Accept-Encoding": "br;q=x"}, None),
        ({}, None),
    ],
)
async def test_its_coding_is_one_that_the_client_accepts(
    client: Client, headers: dict[str, str], coding: str | None
) -> None:
    url = client.make_url("/rum.js")
    async with client.session.get(url, headers=headers, skip_auto_headers=["Accept-Encoding"]) as answer:
        assert answer.headers.get("Content-Encoding") == coding


async def test_who_has_it_is_not_sent_it_again(client: Client) -> None:
    accept = {"Accept-Encoding": "br"}
    tag = (await client.get("/rum.js", headers=accept)).headers["ETag"]
    for tags in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = await client.get("/rum.js", headers={**accept, "If-None-Match": tags})
        assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", tag)
    assert (await client.get("/rum.js", headers={**accept, "If-None-Match": '"x"'})).status == 200


async def test_the_page_of_the_exporter_shows_the_tag_with_its_integrity(client: Client) -> None:
    text = await (await client.get("/", headers={"Accept-Encoding": "identity"})).text()
    digest = base64.b64encode(hashlib.sha384(PLAIN).digest()).decode()
    assert re.search(rf'integrity="sha384-{re.escape(digest)}"', text)
