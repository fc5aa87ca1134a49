"""Schemas of the Prometheus operator's kinds, as far as we use them: every other key is an error.

Written after the operator's API reference, 0.80 and later, which has more keys than these:
https://prometheus-operator.dev/docs/api-reference/api/
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
BOOLEAN: Schema = {"type": "boolean"}
DURATION: Schema = {"type": "string", "pattern": r"^(0|([0-9]+(ms|[smhdwy]))+)$"}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
CLOCK: Schema = {"type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"}
NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", "maxLength": 253}
LABEL: Schema = {"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}


def of(required: str = "", **properties: Schema) -> Schema:
    """An object with these properties and no other; ``required`` names some of them."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def many(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def kind(version: str, name: str, spec: Schema) -> Schema:
    """A document."""
    metadata = of("name", name=NAME, namespace=NAME, labels=TEXTS, annotations=TEXTS)
    identity = {"apiVersion": {"const": f"monitoring.coreos.com/{version}"}, "kind": {"const": name}}
    return of("apiVersion kind metadata spec", **identity, metadata=metadata, spec=spec)


RELABELING = of(
    action=TEXT,
    regex=TEXT,
    replacement=TEXT,
    separator=TEXT,
    sourceLabels=many(LABEL),
    targetLabel=LABEL,
)
ENDPOINT = of(
    "port",
    port=TEXT,
    path=TEXT,
    scheme=TEXT,
    interval=DURATION,
    scrapeTimeout=DURATION,
    relabelings=many(RELABELING),
    metricRelabelings=many(RELABELING),
)
SERVICE_MONITOR = of(
    "selector endpoints",
    selector=of(matchLabels=TEXTS),
    endpoints=many(ENDPOINT),
    jobLabel=TEXT,
)

RULE = of(
    "expr",
    **{"alert": TEXT, "record": TEXT, "expr": TEXT, "for": DURATION, "keep_firing_for": DURATION},
    labels=TEXTS,
    annotations=TEXTS,
)
GROUP = of(
    "name rules",
    name=TEXT,
    interval=DURATION,
    query_offset=DURATION,
    limit={"type": "integer"},
    labels=TEXTS,
    rules=many(RULE),
)

MATCHER = of("name matchType", name=LABEL, value={"type": "string"}, matchType={"enum": ["=", "!=", "=~", "!~"]})
ROUTE = of(
    "receiver",
    **{"continue": BOOLEAN},
    receiver=TEXT,
    groupBy=many(LABEL),
    groupWait=DURATION,
    groupInterval=DURATION,
    repeatInterval=DURATION,
    matchers=many(MATCHER),
    muteTimeIntervals=many(TEXT),
    activeTimeIntervals=many(TEXT),
    # The operator keeps nested routes as they are and checks them itself.
    routes=many({"$ref": "#/$defs/route"}),
)
KEY = of("name key", name=NAME, key=TEXT)
HTTP = of(authorization=of("type credentials", type=TEXT, credentials=KEY), followRedirects=BOOLEAN)
WEBHOOK = of("url", url=TEXT, sendResolved=BOOLEAN, maxAlerts={"type": "integer"}, httpConfig=HTTP)
EMAIL = of(
    "to",
    **{"to": TEXT, "from": TEXT},
    smarthost=TEXT,
    authUsername=TEXT,
    authPassword=KEY,
    sendResolved=BOOLEAN,
    requireTLS=BOOLEAN,
)
TIMES = of(times=many(of("startTime endTime", startTime=CLOCK, endTime=CLOCK)))
ALERTMANAGER_CONFIG = of(
    "route receivers",
    route={"$ref": "#/$defs/route"},
    receivers=many(of("name", name=TEXT, webhookConfigs=many(WEBHOOK), emailConfigs=many(EMAIL))),
    inhibitRules=many(of(sourceMatch=many(MATCHER), targetMatch=many(MATCHER), equal=many(LABEL))),
    muteTimeIntervals=many(of("name timeIntervals", name=TEXT, timeIntervals=many(TIMES))),
)

SCHEMAS: dict[str, Schema] = {
    "ServiceMonitor": kind("v1", "ServiceMonitor", SERVICE_MONITOR),
    "PrometheusRule": kind("v1", "PrometheusRule", of("groups", groups=many(GROUP))),
    "AlertmanagerConfig": {
        **kind("v1alpha1", "AlertmanagerConfig", ALERTMANAGER_CONFIG),
        "$defs": {"route": ROUTE},
    },
}
