"""A small dashboard that every check takes, for tests to break in one place."""

from typing import Any

Json = dict[str, Any]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
REQUESTS = 'sum by (method) (rate(http_requests_total{job=~"$job"}[$__rate_interval]))'
P95 = (
    'histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{job=~"$job"}[$__rate_interval])))'
)
CONTEXT = "${__url_time_range}&${__all_variables}"
MEMORY = "instance:node_memory_utilisation:ratio"


def target(expr: str, legend: str, ref: str = "A") -> Json:
    return {"refId": ref, "datasource": SOURCE, "expr": expr, "legendFormat": legend, "range": True}


def panel(number: int, title: str, unit: str, targets: list[Json], limits: tuple[float, ...] = ()) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}, *({"color": "red", "value": one} for one in limits)]
    defaults = {
        "unit": unit,
        "noValue": "nothing is measured",
        "color": {"mode": "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": {"thresholdsStyle": {"mode": "dashed" if limits else "off"}},
    }
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "description": "What it is, and what to do.",
        "datasource": SOURCE,
        "gridPos": {"h": 8, "w": 12, "x": 12 * ((number - 1) % 2), "y": 8 * ((number - 1) // 2)},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}},
        "targets": targets,
        "links": [{"title": "Technical", "url": f"/d/heypeter-technical?viewPanel=5&{CONTEXT}"}],
    }


def variable() -> Json:
    return {
        "name": "job",
        "label": "Job",
        "type": "query",
        "datasource": SOURCE,
        "query": "label_values(http_requests_total, job)",
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "refresh": 2,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard() -> Json:
    runbook = "https://github.com/heypeteracademy/monitoring/blob/main/docs/runbooks/HighErrorRate.md"
    shares = "job:http_requests_errors:ratio_rate5m"
    return {
        "uid": "heypeter-good",
        "title": "Good",
        "description": "What a dashboard should be.",
        "editable": False,
        "schemaVersion": 42,
        "panels": [
            panel(1, "How many requests?", "reqps", [target(REQUESTS, "{{method}}")]),
            panel(2, "How long does an answer take?", "s", [target(P95, "95th percentile")], (0.5, 3)),
            panel(3, "How many fail?", "percentunit", [target(shares, "of {{job}}")], (0.05,)),
            panel(4, "Memory usage", "percentunit", [target(MEMORY, "{{instance}}")], (0.8, 0.95)),
        ],
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}, variable()]},
        "annotations": {
            "list": [
                {
                    "name": "Alerts",
                    "datasource": SOURCE,
                    "enable": True,
                    "iconColor": "red",
                    "expr": 'max by (alertname) (ALERTS{alertstate="firing"})',
                }
            ]
        },
        "links": [{"title": "Runbook", "type": "link", "icon": "doc", "tooltip": "", "tags": [], "url": runbook}],
    }
