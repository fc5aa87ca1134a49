"""Describes in OpenAPI what programs may ask of the receiver; docs/openapi-receiver.json is generated from it. Pure."""

from typing import Any, get_type_hints

import msgspec
from aiohttp import web

from process.version import VERSION
from receiver.incident.model import Alert, Clocks, Entry, Incident, Priority, State
from receiver.web import alertmanager_webhook, api, duty_api, generic_webhook, incident_acts, replay_api, silences_api
from receiver.web.access import erase_api

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_STUCK = "Stopping, or the database does not answer: ask again. Or an error of the receiver; the text says so."
_ID: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
_LOOKS: tuple[Json, ...] = tuple(
    {"name": name, "in": "query", "schema": schema}
    for name, schema in (
        ("zone", _TEXT),
        ("language", _TEXT),
        ("theme", {"enum": ["light", "dark"]}),
        ("width", {"type": "integer"}),
    )
)
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Unique to this request: what is sent again with the same key is done once",
    "schema": {**_TEXT, "maxLength": incident_acts.LONGEST_KEY},
}
_IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of the incident as it was read: 412 if it has changed since, but for its timeline",
    "schema": _TEXT,
}
_IF_NONE_MATCH: Json = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag of what is known: 304 if it is the same",
    "schema": _TEXT,
}
_ETAG: Json = {"ETag": {"schema": _TEXT}}
_INCIDENT: Json = {"$ref": "#/components/schemas/Incident"}


def document() -> Json:
    """Return the OpenAPI 3.1 document."""
    bodies = {act.body for act in incident_acts.ACTS.values()}
    types = (
        _shown(),
        Alert,
        Entry,
        incident_acts.Raising,
        duty_api.Covering,
        duty_api.Maintaining,
        erase_api.Erasing,
        silences_api.Silencing,
        silences_api.Changing,
        *sorted(bodies, key=lambda one: one.__name__),
    )
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for name in ("Incident", "Alert", "Entry"):  # every key is in each answer
        components[name]["required"] = list(components[name]["properties"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HeyPeter receiver",
            "version": VERSION,
            "description": "Takes alerts and the heartbeats of jobs, and lists, acknowledges and resolves incidents. "
            "What is answered 200 is on disk. On 503 or a lost connection, send the same again.",
        },
        "paths": {**_api(), **_webhooks(), **_operation()},
        "components": {
            "securitySchemes": {
                "api": {"type": "http", "scheme": "bearer", "description": "`api.token` of receiver.yml"},
                "webhook": {"type": "http", "scheme": "bearer", "description": "`webhook.token` of receiver.yml"},
                "users": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Of --web.config.file, if it has users",
                },
            },
            "schemas": {**components, "Taken": _TAKEN, "Problem": _PROBLEM},
        },
    }


class OpenApi:
    """Serves the document at /api/v1/openapi.json; it is made when it is first asked for."""

    def __init__(self) -> None:
        self._text = ""

    def routes(self) -> list[web.RouteDef]:
        """List the endpoint, below /api/v1."""
        return [web.get("/openapi.json", self.show)]

    async def show(self, _request: web.Request) -> web.Response:
        """GET /api/v1/openapi.json."""
        self._text = self._text or msgspec.json.encode(document()).decode()
        return web.Response(text=self._text, content_type="application/json")


def _tagged(described: Json) -> Json:
    """Describe that nothing is sent which is known."""
    described["parameters"] = [*described["parameters"], _IF_NONE_MATCH]
    described["responses"]["200"]["headers"] = _ETAG
    described["responses"]["304"] = {"description": "It is as you know it.", "headers": _ETAG}
    return described


def _shown() -> type[msgspec.Struct]:
    """What the API shows of an incident."""
    own, clocks = get_type_hints(Incident, include_extras=True), get_type_hints(Clocks, include_extras=True)
    fields: list[tuple[str, Any]] = [(name, own[name]) for name in api.SHOWN]
    fields += [(name, clocks[name]) for name in api.CLOCKS_SHOWN]
    more: dict[str, Any] = {"firing": int, "respond_by": own["opened_at"], "step": int, "next": tuple[str, ...]}
    return msgspec.defstruct("Incident", [*fields, *more.items()])


def _api() -> Json:
    following = {"type": ["integer", "null"], "description": "The `before` of the next page; null at the end"}
    incidents = {"incidents": {"type": "array", "items": _INCIDENT}, "next": following}
    listed = {"type": "object", "properties": incidents, "required": ["incidents", "next"]}
    alerts, entries = ({"type": "array", "items": {"$ref": f"#/components/schemas/{n}"}} for n in ("Alert", "Entry"))
    more = {"type": "object", "properties": {"alerts": alerts, "timeline": entries}, "required": ["alerts", "timeline"]}
    states = [State.TRIGGERED, State.ACKNOWLEDGED, State.RESOLVED]
    query = [
        {"name": "state", "in": "query", "schema": {"enum": [state.value for state in states]}},
        {"name": "priority", "in": "query", "schema": {"enum": [priority.value for priority in Priority]}},
        {"name": "team", "in": "query", "schema": _TEXT},
        {
            "name": "since",
            "in": "query",
            "description": "Opened then or later",
            "schema": {**_TEXT, "format": "date-time"},
        },
        {
            "name": "before",
            "in": "query",
            "description": "The `next` of the page before; a page may hold fewer incidents than `limit`",
            "schema": {"type": "integer", "minimum": 1, "maximum": 10**17},
        },
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}},
    ]
    about, whole = "One incident, its alerts and its timeline", {"allOf": [_INCIDENT, more]}
    paths = {
        "/api/v1/incidents": {"get": _tagged(_guarded("listIncidents", "Incidents, the newest first", listed, query))},
        "/api/v1/incidents/{id}": {"get": _tagged(_guarded("showIncident", about, whole, [_ID]))},
        "/api/v1/openapi.json": {"get": _guarded("showOpenApi", "This document", {"type": "object"}, [])},
    }
    for form, kind in (("svg", "image/svg+xml"), ("png", "image/png")):
        about = "Its chart, if Prometheus has the series of its alert"
        chart = _guarded(f"drawIncidentAs{form.title()}", about, {}, [_ID, *_LOOKS])
        chart["responses"]["200"]["content"] = {kind: {"schema": _TEXT}}
        chart["responses"]["400"] = _problem("Wrong parameters.")
        paths[f"/api/v1/incidents/{{id}}/chart.{form}"] = {"get": chart}
    paths |= _evidence() | _duty() | _access() | _erasures() | _silences()
    for action, act in incident_acts.ACTS.items():
        described = _guarded(f"{action}Incident", act.about, _INCIDENT, [_ID, _KEY, _IF_MATCH])
        described["responses"]["200"]["headers"] = _ETAG
        described["responses"]["412"] = _problem("The incident has changed since it was read.")
        described |= _body(act.body, required=bool(_required(act.body)))
        described["responses"] |= _body_problems(incident_acts.LIMIT)
        described["responses"]["409"] = _problem("It cannot be done as things are now; the text says why.")
        described["responses"]["503"] = _problem(_STUCK)
        paths[f"/api/v1/incidents/{{id}}/{action}"] = {"post": described}
    raised = _guarded("raiseIncident", "Page a person or a team with a text", _INCIDENT, [_KEY])
    raised |= _body(incident_acts.Raising, required=True)
    raised["responses"] |= _body_problems(incident_acts.LIMIT)
    raised["responses"]["503"] = _problem(_STUCK)
    raised["responses"]["201"] = raised["responses"]["200"] | {"description": "Opened."}
    raised["responses"]["200"]["description"] = "Opened before, by a request with the same key."
    paths["/api/v1/incidents"]["post"] = raised
    return paths


def _body(body: type[msgspec.Struct], *, required: bool) -> Json:
    content = _json({"$ref": f"#/components/schemas/{body.__name__}"})
    return {"requestBody": {"required": required, "content": content}}


def _required(body: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(body) if field.required]


def _replay() -> Json:
    days = {"type": "integer", "minimum": 1, "maximum": replay_api.MOST_DAYS, "default": 30}
    query: list[Json] = [{"name": "days", "in": "query", "schema": days}]
    query += [one for one in _LOOKS if one["name"] in {"zone", "language"}]
    answer = {"type": "object", "properties": {"words": {"type": "array", "items": _TEXT}}, "required": ["words"]}
    described = _guarded("replay", "What another receiver.yml would have made of past incidents", answer, query)
    described["requestBody"] = {"required": True, "content": {"application/yaml": {"schema": _TEXT}}}
    described["responses"] |= _body_problems(replay_api.LIMIT)
    return described


def _evidence() -> Json:
    """Describe what explains an incident, and what sums a shift up."""
    looks = [one for one in _LOOKS if one["name"] in {"zone", "language"}]
    lists = {name: {"type": "array", "items": {"type": "object"}} for name in ("similar", "deployments")}
    found = {"type": "object", "properties": lists, "required": list(lists)}
    evidence = _guarded("explainIncident", "Similar incidents and the last deployments", found, [_ID])
    draft = _guarded("draftPostmortem", "The draft of a post-mortem in Markdown", {}, [_ID, *looks])
    draft["responses"]["200"]["content"] = {"text/markdown": {"schema": _TEXT}}
    draft["responses"]["400"] = _problem("Wrong parameters.")
    role = {"name": "role", "in": "query", "required": True, "schema": _TEXT}
    summary = {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}
    shift = _guarded("sumUpShift", "What is open, and the shift that is under way", summary, [role, *looks])
    return {
        "/api/v1/incidents/{id}/evidence": {"get": evidence},
        "/api/v1/incidents/{id}/postmortem": {"get": draft},
        "/api/v1/handover": {"get": shift},
        "/api/v1/replay": {"post": _replay()},
    }


def _duty() -> Json:
    """Describe what people set for a while: covers, who is awake, maintenance."""
    text = {"type": "string"}
    cover = {"type": "object", "properties": {"id": {"type": "integer"}, "state": text}, "required": ["id", "state"]}
    window = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    awake = {"type": "object", "properties": {"awake": {"type": "object"}}, "required": ["awake"]}
    until = {"type": "object", "properties": {"until": _TEXT}, "required": ["until", "taken"]}
    covers, windows, incidents = _listed("covers", cover), _listed("windows", window), _listed("incidents", _INCIDENT)
    who, made = incident_acts.Who, (duty_api.Covering, duty_api.Maintaining)
    described: list[tuple[str, str, str, str, Json, type[msgspec.Struct] | None]] = [
        ("/covers", "get", "listCovers", "Covers of shifts that have not ended", covers, None),
        ("/covers", "post", "cover", "Cover or swap a shift, or ask for it", covers, made[0]),
        ("/covers/{id}/accept", "post", "acceptCover", "Stand in; the first has it", covers, who),
        ("/covers/{id}/cancel", "post", "cancelCover", "Cancel a cover, or both of a swap", covers, who),
        ("/awake", "get", "listAwake", "Who is awake, and until when", awake, None),
        ("/awake", "post", "beAwake", "Take new P2 to P4 quietly for half an hour", until, who),
        ("/awake", "delete", "beAwakeNoMore", "Not any more", until, who),
        ("/awake/keep", "post", "keepTaken", "Keep all that was taken while awake", incidents, who),
        ("/awake/giveback", "post", "giveTakenBack", "Give all that back", incidents, who),
        ("/windows", "get", "listWindows", "Maintenance that was made here and has not ended", windows, None),
        ("/windows", "post", "addWindow", "Record what matches for a while, and page nobody", window, made[1]),
        ("/windows/{id}", "delete", "endWindow", "End a window now", windows, who),
        ("/incidents/{id}/maintenance", "post", "maintain", "Maintenance for what is like it", window, made[1]),
    ]
    paths: Json = {}
    for path, method, operation, about, answer, body in described:
        parameters = [*([_ID] if "{id}" in path else []), *([_KEY] if method == "post" else [])]
        one = _guarded(operation, about, answer, parameters)
        if body is not None:
            one |= _body(body, required=bool(_required(body)))
            one["responses"] |= _body_problems(incident_acts.LIMIT)
            one["responses"]["409"] = _problem("It cannot be done as things are now; the text says why.")
        if body in made:
            one["responses"]["201"] = one["responses"].pop("200") | {"description": "Made."}
        paths.setdefault(f"/api/v1{path}", {})[method] = one
    return paths


def _access() -> Json:
    """Describe who asks, and what administrators see of tokens, sessions and the audit log."""
    one: Json = {"type": "object"}
    asked = {"type": "object", "properties": {"name": _TEXT, "scope": {"enum": ["read", "act", "admin"]}}}
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}}
    before = {"name": "before", "in": "query", "schema": {"type": "integer", "minimum": 1}}
    of = {"name": "object", "in": "query", "description": "an object, as incident/42", "schema": _TEXT}
    made = _guarded("createToken", "Make a token; it is shown once", one, [])
    made["requestBody"] = {"required": True, "content": _json({**asked, "required": ["name"]})}
    made["responses"] |= _body_problems(16 * 1024) | {"409": _problem("There are as many tokens as there may be.")}
    made["responses"]["201"] = made["responses"].pop("200") | {"description": "Made."}
    described: Json = {
        "/me": {"get": _guarded("whoAmI", "Who asks, by which way, and with which role", one, [])},
        "/tokens": {"get": _guarded("listTokens", "Tokens, without what they are", _listed("tokens", one), [])},
        "/tokens/{id}": {"delete": _guarded("revokeToken", "Revoke a token, for good", one, [_ID])},
        "/sessions": {"get": _guarded("listSessions", "Who is signed in", _listed("sessions", one), [])},
        "/sessions/{id}": {"delete": _guarded("endSession", "End a session", one, [_ID])},
        "/audit": {"get": _tagged(_guarded("readAudit", "Who did what, the newest first", one, [limit, before, of]))},
    }
    described["/tokens"]["post"] = made
    for path in ("/tokens/{id}", "/sessions/{id}"):
        responses = described[path]["delete"]["responses"]
        responses["204"] = {"description": "Done."}
        del responses["200"]
    return {f"/api/v1{path}": methods for path, methods in described.items()}


def _erasures() -> Json:
    kinds = {"alias": _TEXT, "rows": {"type": "integer"}, "tidied": {"type": "boolean"}}
    done = {"type": "object", "properties": kinds, "required": list(kinds)}
    erased = _guarded("erasePerson", "Take a departed person out of what is kept", done, [])
    erased |= _body(erase_api.Erasing, required=True)
    erased["responses"] |= _body_problems(erase_api.LIMIT)
    erased["responses"]["409"] = _problem("The person is in `people`.")
    return {"/api/v1/erasures": {"post": erased}}


def _silences() -> Json:
    """Describe the silences that are made from an incident."""
    times = {name: {"type": ["string", "null"]} for name in ("made_at", "ends_at", "over_at")}
    texts = dict.fromkeys(("id", "source", "made_by", "comment", "replaced_by", "over_by"), _TEXT)
    more = {"incident": {"type": "integer"}, "matchers": {"type": "array", "items": _TEXT}}
    silence = {"type": "object", "properties": {**texts, **more, **times}, "required": [*texts, *more, *times]}
    counts = {name: {"type": "integer"} for name in ("here", "firing", "elsewhere")}
    found = {"type": "object", "properties": {**counts, "others": {"type": "array"}}, "required": list(counts)}
    at, one = "/api/v1/incidents/{id}/silences", _named("silence", "Its id in Alertmanager")
    asked = {"name": "matcher", "in": "query", "schema": {"type": "array", "items": _TEXT}}
    who, made, changed = incident_acts.Who, silences_api.Silencing, silences_api.Changing
    described: list[tuple[str, str, str, str, Json, list[Json], type[msgspec.Struct] | None]] = [
        (at, "get", "listSilences", "Silences that were made from it", _listed("silences", silence), [], None),
        (f"{at}/preview", "get", "previewSilence", "Count what a silence would mute", found, [asked], None),
        (at, "post", "silence", "Make a silence in Alertmanager", silence, [_KEY], made),
        (f"{at}/{{silence}}", "put", "changeSilence", "Set its end, or other matchers", silence, [one], changed),
        (f"{at}/{{silence}}", "delete", "endSilence", "End it now", silence, [one], who),
    ]
    paths: Json = {}
    for path, method, operation, about, answer, parameters, body in described:
        it = _guarded(operation, about, answer, [_ID, *parameters])
        if body is not None:
            it |= _body(body, required=bool(_required(body)))
            it["responses"] |= _body_problems(incident_acts.LIMIT)
        if path != at or method != "get":
            it["responses"]["400"] = _problem("Wrong parameters; the text says which.")
            it["responses"]["409"] = _problem("It cannot be done as things are now; the text says why.")
            it["responses"]["502"] = _problem("Alertmanager cannot be reached, or refused; the text says why.")
            it["responses"]["504"] = _problem("Alertmanager did not answer in time.")
        if body is made:
            it["responses"]["201"] = it["responses"].pop("200") | {"description": "Made."}
        paths.setdefault(path, {})[method] = it
    return paths


def _listed(name: str, item: Json) -> Json:
    return {"type": "object", "properties": {name: {"type": "array", "items": item}}, "required": [name]}


def _guarded(operation: str, summary: str, answer: Json, parameters: list[Json]) -> Json:
    is_one = _ID in parameters
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{"api": []}],
        "parameters": parameters,
        "responses": {
            "200": {"description": "As asked.", "content": _json(answer)},
            "401": _problem("The token is missing or wrong."),
            "403": _problem("The role of the token does not allow it, or a page of another site asked."),
            **({"404": _problem("There is no such incident.")} if is_one else {"400": _problem("Wrong parameters.")}),
            "429": _problem("Too many wrong tokens or passwords."),
            "503": _problem("Stopping, or the database does not answer; ask again."),
        },
    }


def _webhooks() -> Json:
    taken = _json({"$ref": "#/components/schemas/Taken"})
    heard = _json({"type": "object", "properties": {"heard": {"const": True}}, "required": ["heard"]})
    source = _named("source", "Name of an entry of `alertmanagers`; without it, `default`")
    paths = {}
    for name, about, answer in (
        ("alertmanager", "Alerts, as Alertmanager's webhook sends them; Grafana's are read as well", taken),
        ("watchdog", "Alertmanager's webhook for the alert that always fires", heard),
    ):
        for end, parameters in (("", []), ("/{source}", [source])):
            operation = f"{name}OfSource" if end else name
            posted = _posted(operation, about, _ALERTMANAGER, answer, alertmanager_webhook.LIMIT)
            paths[f"/webhook/{name}{end}"] = {"post": posted | {"parameters": parameters}}
    tool = _named("name", "Key in `generic_webhooks`, whose expressions read the body")
    posted = _posted("generic", "Any JSON of another tool", {}, taken, generic_webhook.LIMIT)
    paths["/webhook/generic/{name}"] = {"post": posted | {"parameters": [tool]}}
    job = _named("name", "Key in `heartbeats`")
    beat = {method: _beat(method, heard) | {"parameters": [job]} for method in ("get", "post")}
    return {**paths, "/heartbeat/{name}": beat}


def _named(name: str, about: str) -> Json:
    return {"name": name, "in": "path", "required": True, "description": about, "schema": _TEXT}


def _posted(operation: str, summary: str, body: Json, answer: Json, limit: int) -> Json:
    beat = _beat("post", answer)
    return {
        **beat,
        "operationId": operation,
        "summary": summary,
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {**beat["responses"], **_body_problems(limit)},
    }


def _beat(method: str, answer: Json) -> Json:
    return {
        "operationId": f"{method}Heartbeat",
        "summary": "The heartbeat of a job; a body is not read",
        "security": [{"webhook": []}],
        "responses": {
            "200": {"description": "It is on disk.", "content": answer},
            "401": _problem("The token is missing or wrong."),
            "404": _problem("receiver.yml does not have this name."),
            "503": _problem("Stopping, or it cannot be stored; send it again."),
        },
    }


def _operation() -> Json:
    series = {"200": {"description": "The series.", "content": {"text/plain": {"schema": _TEXT}}}}
    reloaded = {
        **_text("The file is read again."),
        "400": _problem("The file cannot be used; the text says where. What was loaded goes on."),
        "401": _problem("The token is missing or wrong."),
    }
    ready = {**_text("Webhooks are taken and pages go out."), **_text("Starting, stopping or unable to write.", 503)}
    return {
        "/-/healthy": {"get": {"summary": "Liveness", "responses": _text("The process is running.")}},
        "/-/ready": {"get": {"summary": "Readiness", "responses": ready}},
        "/-/reload": {"post": {"summary": "Read the file again", "security": [{"api": []}], "responses": reloaded}},
        "/metrics": {
            "get": {
                "summary": "The receiver's own metrics",
                "security": [{}, {"users": []}],
                "responses": {**series, "401": {"description": "User or password is missing or wrong."}},
            }
        },
    }


def _body_problems(limit: int) -> Json:
    return {
        "400": _problem("The body cannot be read; the text names the field."),
        "408": _problem("The body took too long."),
        "413": _problem(f"The body is larger than {limit // 1024} KiB."),
        "415": _problem("Unsupported Content-Encoding (expected gzip, deflate or none)."),
    }


_LABELS: Json = {"type": "object", "additionalProperties": _TEXT}
_ALERTMANAGER: Json = {
    "type": "object",
    "description": "https://prometheus.io/docs/alerting/latest/configuration/#webhook_config",
    "properties": {
        "version": {"enum": ["4", "1"]},
        "groupKey": _TEXT,
        "receiver": _TEXT,
        "groupLabels": _LABELS,
        "truncatedAlerts": {"type": "integer", "minimum": 0},
        "alerts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "status": {"enum": ["firing", "resolved"]},
                    "labels": _LABELS,
                    "annotations": _LABELS,
                    "startsAt": {"type": "string", "format": "date-time"},
                    "endsAt": {"type": "string", "format": "date-time"},
                    "generatorURL": _TEXT,
                    "fingerprint": _TEXT,
                },
                "required": ["status", "labels"],
            },
        },
    },
    "required": ["version", "alerts"],
}
_TAKEN: Json = {
    "type": "object",
    "properties": {
        "incident": {"type": ["integer", "null"], "description": "Its number; null if nothing is open"},
        "state": {"enum": [state.value for state in State]},
        "priority": {"enum": [priority.value for priority in Priority]},
        "dropped": {"type": "integer", "description": "How many alerts could not be read"},
    },
    "required": ["incident"],
}
_PROBLEM: Json = {"type": "object", "properties": {"error": _TEXT}, "required": ["error"]}


def _problem(description: str) -> Json:
    return {"description": description, "content": _json({"$ref": "#/components/schemas/Problem"})}


def _text(description: str, status: int = 200) -> Json:
    return {str(status): {"description": description, "content": {"text/plain": {"schema": _TEXT}}}}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
