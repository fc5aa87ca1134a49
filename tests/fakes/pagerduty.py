"""PagerDuty as its documentation describes it: Events API v2 with its limits and dedup, and REST incidents.

developer.pagerduty.com/docs/events-api-v2/overview and developer.pagerduty.com/api-reference.
"""

import json
from typing import Any

from aiohttp import web

from tests.fakes.server import FakeServer

SEVERITIES = {"critical", "error", "warning", "info"}
EVENT_BYTES = 512 * 1024
LONGEST_NAME = 1024
LONGEST_NOTE = 25_000


class FakePagerDuty(FakeServer):
    """``alerts`` maps (routing key, dedup key) to its state; ``rung`` lists what made a telephone ring."""

    def __init__(self, keys: set[str], token: str = "rest-token") -> None:
        super().__init__()
        self._keys, self._token = keys, token
        self.alerts: dict[tuple[str, str], str] = {}
        self.rung: list[str] = []
        self.dropped: list[str] = []  # dedup keys of acknowledges and resolves that met no open alert
        self.incidents: dict[str, dict[str, Any]] = {}
        self.notes: list[tuple[str, str]] = []  # (incident, content)
        self.users: dict[str, dict[str, Any]] = {}
        self.log: dict[str, list[dict[str, Any]]] = {}  # entries by incident, the newest first

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        if request.path == "/v2/enqueue":
            return self._event(body)
        if request.path.startswith(("/incidents", "/users/")):
            return self._rest(request, body)
        return web.json_response({"error": {"message": "Not Found"}}, status=404)

    def _event(self, body: dict[str, Any]) -> web.Response:
        if len(json.dumps(body)) > EVENT_BYTES:
            return web.Response(status=413, text="Request Entity Too Large")
        errors = _errors(body)
        if not errors and body["routing_key"] not in self._keys:
            errors.append("Invalid routing key")
        if errors:
            return web.json_response(
                {"status": "invalid event", "message": "Event object is invalid", "errors": errors}, status=400
            )
        key = (body["routing_key"], body["dedup_key"])
        action = body["event_action"]
        if action == "trigger":
            if self.alerts.get(key, "resolved") == "resolved":  # an open key is updated and does not ring
                self.rung.append(body["payload"]["summary"])
                self.alerts[key] = "triggered"
        elif key in self.alerts and self.alerts[key] != "resolved":  # of an unknown key: dropped without a word
            self.alerts[key] = f"{action}d"
        else:
            self.dropped.append(key[1])
        return web.json_response({"status": "success", "message": "Event processed", "dedup_key": key[1]}, status=202)

    def _rest(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        if request.headers.get("Authorization") != f"Token token={self._token}":
            return web.json_response({"error": {"message": "Unauthorized", "code": 2006}}, status=401)
        if request.method == "GET":
            return self._get(request)
        if "@" not in request.headers.get("From", ""):
            return _refused("Requester User Not Found", 2100)
        if request.path.endswith("/notes"):
            return self._note(request.path.split("/")[2], body.get("note", {}).get("content", ""))
        incident = body.get("incident", {})
        if request.method == "POST":
            return self._create(incident)
        return self._update(request.path.rpartition("/")[2], incident)

    def _get(self, request: web.Request) -> web.Response:
        if request.path != "/incidents":
            return self._one(request.path.split("/")[1:])
        wanted = request.query.get("incident_key")
        statuses = request.query.getall("statuses[]", ["triggered", "acknowledged"])  # the API's own default
        listed = [
            i
            for i in self.incidents.values()
            if (i["incident_key"] == wanted if wanted is not None else i["status"] in statuses)
        ]
        return web.json_response({"incidents": listed, "limit": 25, "offset": 0, "more": False})

    def _one(self, path: list[str]) -> web.Response:
        """A user, an incident, or its log."""
        known = (self.users if path[0] == "users" else self.incidents).get(path[1])
        if known is None:
            return web.json_response({"error": {"message": "Not Found", "code": 2100}}, status=404)
        if path[2:] == ["log_entries"]:
            return web.json_response({"log_entries": self.log.get(path[1], []), "limit": 100, "offset": 0})
        return web.json_response({path[0].removesuffix("s"): known})

    def _note(self, number: str, content: str) -> web.Response:
        if number not in self.incidents:
            return web.json_response({"error": {"message": "Not Found", "code": 2100}}, status=404)
        if not 0 < len(content) <= LONGEST_NOTE:
            return _refused("Content is missing or too long", 2001)
        self.notes.append((number, content))
        return web.json_response({"note": {"id": f"N{len(self.notes)}", "content": content}}, status=200)

    def _update(self, number: str, incident: dict[str, Any]) -> web.Response:
        if number not in self.incidents:
            return web.json_response({"error": {"message": "Not Found", "code": 2100}}, status=404)
        if self.incidents[number]["status"] == "resolved":
            return _refused("Incident Already Resolved", 1001)
        self.incidents[number]["status"] = incident["status"]
        return web.json_response({"incident": self.incidents[number]})

    def _create(self, incident: dict[str, Any]) -> web.Response:
        service, key = incident.get("service", {}), incident.get("incident_key")
        if not incident.get("title") or incident.get("type") != "incident":
            return _refused("Title cannot be empty", 2001)
        if service.get("type") != "service_reference" or not service.get("id"):
            return _refused("Service cannot be empty", 2001)
        opened = [i for i in self.incidents.values() if i["status"] != "resolved"]
        if key and any((i["incident_key"], i["service"]["id"]) == (key, service["id"]) for i in opened):
            return _refused("Open incident with matching dedup key already exists on this service", 2002)
        number = f"Q{len(self.incidents) + 1:05}"
        self.incidents[number] = {**incident, "id": number, "status": "triggered"}
        self.rung.append(incident["title"])
        return web.json_response({"incident": self.incidents[number]}, status=201)


def _refused(text: str, code: int) -> web.Response:
    error = {"message": "Arguments Caused Error", "code": code, "errors": [text]}
    return web.json_response({"error": error}, status=400)


def _errors(body: dict[str, Any]) -> list[str]:
    errors = []
    if len(body.get("routing_key", "")) != 32:
        errors.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    if body.get("event_action") not in {"trigger", "acknowledge", "resolve"}:
        errors.append("'event_action' is invalid")
    if not 0 < len(body.get("dedup_key", "")) <= 255:
        errors.append("'dedup_key' is missing or longer than 255")
    if body.get("event_action") == "trigger":
        payload = body.get("payload", {})
        names = ("source", "component", "group", "class")
        errors += [f"'payload.{name}' is too long" for name in names if len(payload.get(name, "")) > LONGEST_NAME]
        if not 0 < len(payload.get("summary", "")) <= 1024:
            errors.append("'payload.summary' is missing or longer than 1024")
        if payload.get("severity") not in SEVERITIES:
            errors.append("'payload.severity' is invalid")
        if not payload.get("source"):
            errors.append("'payload.source' is missing")
        errors += ["'images.src' is invalid" for i in body.get("images", []) if not i.get("src").startswith("https:")]
        errors += ["'links.href' is invalid" for link in body.get("links", []) if "://" not in link.get("href", "")]
    return errors
