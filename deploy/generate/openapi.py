"""The OpenAPI files of both programs, for those who have no client of ours: what the processes themselves answer."""

import json
from pathlib import Path

from exporter.config import Config, shipped_catalogue
from exporter.events.decode import Decoder, Schema
from exporter.web import browser_events, server_events
from exporter.web.openapi import document as exporter_document
from process.version import VERSION
from receiver.web.openapi import document as receiver_document

ROOT = Path(__file__).resolve().parents[2]


def texts() -> dict[Path, str]:
    """Give both files; the exporter's has the events of the shipped catalogue."""
    config = Config()
    schema = Schema(shipped_catalogue(config))
    servers = Decoder(schema.private(), server_events.MAX_EVENTS, "ServerBatch")
    browsers = Decoder(schema.public(), browser_events.MAX_EVENTS, "BrowserBatch")
    documents = {
        "exporter": exporter_document(servers, browsers, VERSION, config.browser.path),
        "receiver": receiver_document(),
    }
    return {
        ROOT / f"docs/openapi-{name}.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        for name, document in documents.items()
    }
