"""Turns the JSON body of any tool into an alert, by the expressions of `generic_webhooks` in receiver.yml. Pure."""

import hashlib
import math
from datetime import datetime

import msgspec

from process.addresses import is_http
from receiver.config.generic import Evaluation, Expression, ExpressionError, GenericWebhook
from receiver.incident.model import UNKNOWN_START, Alert, AlertGroup, Priority, of_source
from receiver.web.alertmanager_payload import PayloadError, decoded

_LONGEST_KEY = 1000  # characters
_LONGEST = {"title": 500, "description": 4000, "link": 2000}  # what is longer is cut, but for a link
_LONGEST_LABEL = 1000
_FIRING = {"firing": True, "alerting": True, "true": True, "resolved": False, "ok": False, "false": False}
_json = msgspec.json.Decoder[object](object)
_SHOWN = 60  # characters of a value in an error


def parse(name: str, webhook: GenericWebhook, body: bytes, now: datetime) -> AlertGroup:
    """Read a body; PayloadError names the key of receiver.yml whose expression finds nothing, or nothing usable."""
    try:
        data = decoded(body, _json)
    except (msgspec.DecodeError, RecursionError) as error:
        raise PayloadError(f"invalid JSON: {str(error)[:200]}") from error
    return read(name, webhook, data, now)


def read(name: str, webhook: GenericWebhook, data: object, now: datetime) -> AlertGroup:
    """As ``parse``, for a body that is decoded."""
    fields = _Fields(f"generic_webhooks.{name}", data)
    key = fields.needed("key", webhook.key)
    if len(key) > _LONGEST_KEY:
        raise fields.error("key", f"too long ({len(key)} characters, at most {_LONGEST_KEY})")
    firing = _is_firing(fields, webhook)
    labels = {"alertname": name}
    for label, expression in webhook.labels.items():
        labels[label] = fields.text(f"labels.{label}", expression)[:_LONGEST_LABEL] or labels.get(label, "")
    labels["priority"] = _priority(fields, webhook) or labels.get("priority", "")
    alert = Alert(
        fingerprint=hashlib.sha256(f"{name}/{key}".encode()).hexdigest()[:16],
        firing=firing,
        # A tool repeats itself, and rarely says since when: this is the start of what is known to fire, or now.
        starts_at=UNKNOWN_START,
        ends_at=None if firing else now,
        labels={label: value for label, value in labels.items() if value},
        annotations=_annotations(fields, webhook),
        generator_url=_link(fields, webhook),
    )
    return of_source(AlertGroup(key, (alert,)), source(name))


def source(name: str) -> str:
    """Name the source of what a webhook sends; no Alertmanager's name has a slash."""
    return f"generic/{name}"


class _Fields:
    """The fields of one body; ``at`` is the place of the webhook in receiver.yml."""

    def __init__(self, at: str, data: object) -> None:
        self._at, self._data, self._evaluation = at, data, Evaluation()

    def error(self, key: str, text: str) -> PayloadError:
        return PayloadError(f"{self._at}.{key}: {text}")

    def needed(self, key: str, expression: Expression) -> str:
        text = self.text(key, expression).strip()
        if not text:
            raise self.error(key, f"{expression.text!r} finds nothing in the body")
        return text

    def text(self, key: str, expression: Expression | None) -> str:
        """Give what is found as text, "" for null."""
        if expression is None:
            return ""
        try:
            found = expression.find(self._data, self._evaluation)
        except (ExpressionError, RecursionError) as error:
            raise self.error(key, str(error)) from error
        if found is None:
            return ""
        if isinstance(found, bool):
            return "true" if found else "false"
        if isinstance(found, str):
            return found.encode("utf-8", "replace").decode()
        if isinstance(found, int) or (isinstance(found, float) and math.isfinite(found)):
            try:
                return str(found)
            except ValueError as error:  # more digits than Python writes
                raise self.error(key, f"{expression.text!r} finds a number that is too long") from error
        raise self.error(key, f"{expression.text!r} finds a {_kind(found)} (expected text or a number)")


def _is_firing(fields: _Fields, webhook: GenericWebhook) -> bool:
    status = fields.needed("status", webhook.status).lower()
    if status not in _FIRING:
        raise fields.error("status", f"invalid {status[:_SHOWN]!r} (expected firing or resolved, or true or false)")
    return _FIRING[status]


def _priority(fields: _Fields, webhook: GenericWebhook) -> str:
    priority = fields.text("priority", webhook.priority).strip().upper()
    if priority and priority not in {one.value for one in Priority}:
        raise fields.error("priority", f"invalid {priority[:_SHOWN]!r} (expected P1 to P5)")
    return priority


def _annotations(fields: _Fields, webhook: GenericWebhook) -> dict[str, str]:
    told = {
        "summary": fields.needed("title", webhook.title)[: _LONGEST["title"]],
        "description": fields.text("description", webhook.description)[: _LONGEST["description"]],
    }
    return {name: text for name, text in told.items() if text}


def _link(fields: _Fields, webhook: GenericWebhook) -> str:
    link = fields.text("link", webhook.link).strip()
    if link and (len(link) > _LONGEST["link"] or not is_http(link)):
        raise fields.error("link", f"invalid URL {link[:_SHOWN]!r} (expected http:// or https://)")
    return link


def _kind(value: object) -> str:
    if isinstance(value, list | dict):
        return "list" if isinstance(value, list) else "mapping"
    # A body of a policy test has dates, too.
    return "number without a value" if isinstance(value, float) else type(value).__name__
