"""The files of the Helm chart that follow from others, and the kustomize base, which is the chart rendered as it is."""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from helm_python.chart import Chart

from deploy.generate import alertmanager_config, containers
from process.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
CHART, CONFIG = FOLDER / "chart", "ConfigMap"
RELEASE, NAMESPACE = "heypeter", "monitoring"
PROGRAMS = ("exporter", "receiver")
# Whichever instance is the primary; the connection is encrypted.
DATABASE = f"postgresql://heypeter@{RELEASE}-db-rw/heypeter?sslmode=require&target_session_attrs=read-write"
# The chart puts in the addresses of as many as there are.
REPLICAS = """
# What several exporters tell each other; each may stand in its own list.
replicas:
  peers: PEERS
  secret_file: /run/secrets/exporter-replicas

events:
"""
# Where the pods of an ingress controller are.
PROXIES = '"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"'
HEAD = "# Generated from {source} by `python -m deploy.generate`.\n"
FILE_OF_KIND = {
    "ServiceMonitor": "servicemonitors.yaml",
    "PrometheusRule": "rules.yaml",
    "AlertmanagerConfig": "alertmanagerconfig.yaml",
    "ConfigMap": "dashboards.yaml",
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster; not in every build of PyYAML
_CHECKSUM = re.compile(r"^ +annotations:\n +checksum/config: \w+\n", re.MULTILINE)


def chart_yaml() -> str:
    """Give Chart.yaml: the chart has the version of the programs."""
    return HEAD.format(source="process/version.py") + (
        "apiVersion: v2\n"
        "name: heypeter-monitoring\n"
        "description: Events to Prometheus metrics, alerts to incidents, incidents to the right person.\n"
        "type: application\n"
        f"version: {VERSION}\n"
        f'appVersion: "{VERSION}"\n'
        'kubeVersion: ">=1.27.0-0"\n'
    )


def configurations() -> dict[str, str]:
    """Give the examples as they are in a cluster."""
    receiver = containers.receiver(
        "/run/secrets",
        f"http://alertmanager-operated.{NAMESPACE}.svc:9093",
        f"http://prometheus-operated.{NAMESPACE}.svc:9090",
    )
    # The operator names each receiver of an AlertmanagerConfig after its namespace and name.
    named = {"receivers: [receiver]": f'receivers: ["{NAMESPACE}/{RELEASE}/receiver"]'}
    receiver = containers.replaced("receiver.yml", receiver, named)
    exporter = containers.exporter("/run/secrets", PROXIES)
    made = {
        "exporter.yml": exporter,
        "exporter-replicas.yml": containers.replaced("exporter.yml", exporter, {"\nevents:\n": REPLICAS}),
        "receiver.yml": receiver,
        "receiver-postgresql.yml": containers.on_postgresql(receiver, DATABASE),
    }
    return {name: containers.head(name) + text for name, text in made.items()}


def alertmanager() -> str:
    """Give the spec of the AlertmanagerConfig, with the receiver's name and SECRET as placeholders."""
    config = yaml.safe_load(containers.named(containers.example("alertmanager.yml")))
    text = yaml.safe_dump(alertmanager_config.spec(config), sort_keys=False, width=120)
    return HEAD.format(source="deploy/config/alertmanager.yml") + text


def chart() -> dict[Path, str]:
    """Give the generated files of the chart."""
    made = {f"files/config/{name}": text for name, text in configurations().items()}
    for path in sorted((ROOT / "rules").glob("*.yml")):
        made[f"files/rules/{path.name}"] = path.read_text("utf-8")
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        # In one line: it is read by programs only, and a third of the size.
        dashboard = json.loads(path.read_text("utf-8"))
        made[f"files/dashboards/{path.name}"] = json.dumps(dashboard, ensure_ascii=False, separators=(",", ":")) + "\n"
    made["files/alertmanagerconfig.yml"] = alertmanager()
    made["Chart.yaml"] = chart_yaml()
    return {CHART / name: text for name, text in made.items()}


def render(generated: dict[Path, str], values: dict[str, object] | None = None) -> dict[str, str]:
    """Render the chart with these generated files; gives the text of each template by its file name."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "chart"
        shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns("files"))
        for path, text in generated.items():
            (copy / path.relative_to(CHART)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(CHART)).write_text(text, "utf-8")
        with Chart.load(copy) as loaded:
            rendered = loaded.render(values, name=RELEASE, namespace=NAMESPACE)
    return {path.rpartition("/")[2]: text for path, text in rendered.items() if path.endswith(".yaml")}


def documents(text: str) -> list[str]:
    """Split a stream of YAML."""
    return [part.strip("\n") + "\n" for part in re.split(r"^---\n", text, flags=re.MULTILINE) if part.strip()]


def base(rendered: dict[str, str]) -> dict[Path, str]:
    """Give the kustomize base: the rendered chart, but with configurations that an overlay can replace."""
    parts: dict[str, list[str]] = {}
    for template, text in sorted(rendered.items()):
        for document in documents(text):
            found = yaml.load(document, _LOADER)  # noqa: S506  # one of the two safe ones
            if found is None:
                continue
            name = FILE_OF_KIND.get(found["kind"], "") if template == "monitoring.yaml" else template
            if found["kind"] != "ConfigMap" or template == "monitoring.yaml":
                parts.setdefault(name, []).append(_CHECKSUM.sub("", document))
    head = HEAD.format(source="deploy/kubernetes/chart")
    made = {name: head + "---\n".join(texts) for name, texts in parts.items()}
    made["kustomization.yaml"] = head + _kustomization(sorted(parts))
    made |= {f"config/{one}.yml": configurations()[f"{one}.yml"] for one in PROGRAMS}
    return {FOLDER / "base" / name: text for name, text in made.items()}


def _kustomization(resources: list[str]) -> str:
    """List the parts; a changed configuration gets a new name, and with it new pods."""
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
        "configMapGenerator": [{"name": f"{RELEASE}-{one}", "files": [f"config/{one}.yml"]} for one in PROGRAMS],
    }
    return yaml.safe_dump(content, sort_keys=False)


class Rendered(NamedTuple):
    """A document as text, without the checksum of a configuration, and what it says."""

    text: str
    content: dict[str, Any]


def high_availability(generated: dict[Path, str], plain: dict[str, str]) -> dict[Path, str]:
    """Give base-ha: the base, and what the chart renders differently with values-ha.yaml, as resources and patches."""
    values = yaml.safe_load((CHART / "values-ha.yaml").read_text("utf-8"))
    several, single = _by_name(render(generated, values)), _by_name(plain)
    made = {"several.yaml": "---\n".join(several[name].text for name in sorted(several.keys() - single.keys()))}
    patches: list[dict[str, object]] = []
    for kind, name in sorted(single.keys() - several.keys()):
        metadata, version = {"name": name}, single[kind, name].content["apiVersion"]
        removing = {"$patch": "delete", "apiVersion": version, "kind": kind, "metadata": metadata}
        patches.append({"patch": yaml.safe_dump(removing, sort_keys=False)})
    for kind, name in sorted(several.keys() & single.keys()):
        spec = several[kind, name].content.get("spec")
        if spec != single[kind, name].content.get("spec"):
            path = f"{kind.lower()}-{name}.yaml"
            made[path] = yaml.safe_dump([{"op": "replace", "path": "/spec", "value": spec}], sort_keys=False)
            patches.append({"path": path, "target": {"kind": kind, "name": name}})
    made["kustomization.yaml"] = yaml.safe_dump(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["../base", "several.yaml"],
            "configMapGenerator": [
                {"name": f"{RELEASE}-{one}", "behavior": "replace", "files": [f"config/{one}.yml"]} for one in PROGRAMS
            ],
            "patches": patches,
        },
        sort_keys=False,
    )
    head = HEAD.format(source="deploy/kubernetes/chart with values-ha.yaml")
    made = {name: head + text for name, text in made.items()}
    for one in PROGRAMS:
        made[f"config/{one}.yml"] = several[CONFIG, f"{RELEASE}-{one}"].content["data"][f"{one}.yml"]
    return {FOLDER / "base-ha" / name: text for name, text in made.items()}


def _by_name(rendered: dict[str, str]) -> dict[tuple[str, str], Rendered]:
    texts_ = [_CHECKSUM.sub("", one) for text in rendered.values() for one in documents(text)]
    found = [Rendered(text, yaml.load(text, _LOADER)) for text in texts_]  # noqa: S506  # one of the two safe ones
    return {(one.content["kind"], one.content["metadata"]["name"]): one for one in found if one.content}


def texts() -> dict[Path, str]:
    """Give the files of deploy/kubernetes."""
    generated = chart()
    plain = render(generated)
    return generated | base(plain) | high_availability(generated, plain)
