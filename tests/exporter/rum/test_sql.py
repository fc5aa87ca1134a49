"""What the browser client reads of SQL texts: the operation and the table that the exporter would, or nothing."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from exporter.events.sql import statement
from tests.exporter.client.node import NODE

SOURCE = Path("exporter/rum/src/sql.ts").resolve()
QUERIES = [text for text, _ in yaml.safe_load(Path("tests/exporter/client/queries.yml").read_text("utf-8"))]


def read(texts: list[str]) -> list[tuple[str, str]]:
    script = f"""import {{ statement }} from "{SOURCE.as_uri()}";
      console.log(JSON.stringify({json.dumps(texts)}.map(statement)));"""
    command = [NODE, "--no-warnings", "--input-type=module", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=True)
    return [(operation, table) for operation, table in json.loads(done.stdout)]


def test_the_browser_reads_what_the_exporter_reads_or_leaves_the_table_out() -> None:
    found = dict(zip(QUERIES, read(QUERIES), strict=True))
    expected = {text: (operation, table.replace("other", "")) for text, (operation, table) in _by_exporter().items()}
    assert {text: operation for text, (operation, _) in found.items()} == {t: op for t, (op, _) in expected.items()}
    without = {text for text, pair in found.items() if pair != expected[text]}
    assert {found[text][1] for text in without} == {""}
    assert all(text.lower().startswith("with") or "from (" in text or "ONLY (" in text for text in without)
    assert len(without) <= 6


def _by_exporter() -> dict[str, tuple[str, str]]:
    return {text: statement(text) for text in QUERIES}


@pytest.mark.parametrize("part", ["(", "$a$", "'", "a .", "/*", "with x as (", "from ", "[a", '"', "\t", "`", "as ("])
def test_a_hostile_text_is_read_no_further_than_its_first_part(part: str) -> None:
    verbs = ("select ", "with x as (select 1) select * from x ", "")
    texts = [verb + part * (60_000 // len(part)) for verb in verbs]
    assert read(texts) == read([text[:10_000] for text in texts])
