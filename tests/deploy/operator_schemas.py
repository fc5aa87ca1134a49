"""Schemas of the kinds of the Prometheus operator and of CloudNativePG, as far as we use them: other keys are errors.

Written after the API references of operator 0.80 and CloudNativePG 1.25 and later, which have more keys than these:
https://prometheus-operator.dev/docs/api-reference/api/
https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/
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


def kind(version: str, name: str, spec: Schema, group: str = "monitoring.coreos.com") -> Schema:
    """A document."""
    metadata = of("name", name=NAME, namespace=NAME, labels=TEXTS, annotations=TEXTS)
    identity = {"apiVersion": {"const": f"{group}/{version}"}, "kind": {"const": name}}
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

SIZE: Schema = {"type": "string", "pattern": "^[1-9][0-9]*(Mi|Gi|Ti)$"}
COUNT: Schema = {"type": "integer", "minimum": 1}
RESOURCES = of(requests=TEXTS, limits=TEXTS)
POD = {
    "replicas": COUNT,
    "retention": DURATION,
    "resources": RESOURCES,
    "securityContext": of(
        runAsNonRoot=BOOLEAN,
        runAsUser=COUNT,
        fsGroup=COUNT,
        seccompProfile=of("type", type={"const": "RuntimeDefault"}),
    ),
    "topologySpreadConstraints": many(
        of(
            "maxSkew topologyKey whenUnsatisfiable",
            maxSkew=COUNT,
            topologyKey=TEXT,
            whenUnsatisfiable={"enum": ["DoNotSchedule", "ScheduleAnyway"]},
            labelSelector=of(matchLabels=TEXTS),
        )
    ),
    "storage": of(
        volumeClaimTemplate=of(spec=of(storageClassName=TEXT, resources=of(requests=of("storage", storage=SIZE))))
    ),
}
PROMETHEUS = of(
    "alerting serviceMonitorSelector ruleSelector",
    **POD,
    serviceAccountName=NAME,
    prometheusExternalLabelName={"type": "string"},
    replicaExternalLabelName=LABEL,
    externalLabels=TEXTS,
    scrapeInterval=DURATION,
    evaluationInterval=DURATION,
    serviceMonitorSelector=of(matchLabels=TEXTS),
    ruleSelector=of(matchLabels=TEXTS),
    alerting=of(alertmanagers=many(of("name port", namespace=NAME, name=NAME, port=TEXT))),
)
ALERTMANAGER = of(
    "alertmanagerConfigSelector",
    **POD,
    alertmanagerConfigSelector=of(matchLabels=TEXTS),
    alertmanagerConfigMatcherStrategy=of("type", type={"enum": ["OnNamespace", "None"]}),
)
CLUSTER = of(
    "instances storage",
    instances=COUNT,
    bootstrap=of(initdb=of("database owner", database=TEXT, owner=TEXT)),
    postgresql=of(
        parameters=TEXTS,
        synchronous=of(
            "method number",
            method={"enum": ["any", "first"]},
            number=COUNT,
            dataDurability={"enum": ["required", "preferred"]},
        ),
    ),
    affinity=of(
        enablePodAntiAffinity=BOOLEAN, topologyKey=TEXT, podAntiAffinityType={"enum": ["preferred", "required"]}
    ),
    storage=of("size", size=SIZE, storageClass=TEXT),
    resources=RESOURCES,
)

SCHEMAS: dict[str, Schema] = {
    "Prometheus": kind("v1", "Prometheus", PROMETHEUS),
    "Alertmanager": kind("v1", "Alertmanager", ALERTMANAGER),
    "Cluster": kind("v1", "Cluster", CLUSTER, "postgresql.cnpg.io"),
    "ServiceMonitor": kind("v1", "ServiceMonitor", SERVICE_MONITOR),
    "PrometheusRule": kind("v1", "PrometheusRule", of("groups", groups=many(GROUP))),
    "AlertmanagerConfig": {
        **kind("v1alpha1", "AlertmanagerConfig", ALERTMANAGER_CONFIG),
        "$defs": {"route": ROUTE},
    },
}
