"""The chart and the kustomize base hold what the rest of the repository says, and the API takes all of it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError
from jsonschema_rs import Draft202012Validator, Registry, validator_for

from deploy.generate import alertmanager_config, kubernetes
from deploy.generate.alertmanager_config import in_utc, matcher
from tests.deploy.installed import ROOT
from tests.deploy.operator_schemas import SCHEMAS

CHART, BASE = ROOT / "deploy/kubernetes/chart", ROOT / "deploy/kubernetes/base"
# The API's own schemas, which this package brings. Its code is not imported: that takes seconds in each test process.
PACKAGE = Path(str(distribution("kubernetes-validate").locate_file("kubernetes_validate")))
VERSIONS = ("1.27.0", "1.37.0")  # the chart's kubeVersion, and the newest that the package knows
WORKLOADS = ("StatefulSet", "Deployment")
Document = dict[str, Any]

EVERYTHING: dict[str, object] = {
    "image": {"exporterDigest": "sha256:" + 64 * "a", "pullSecrets": ["registry"], "tag": "1.2.3"},
    "exporter": {"storage": {"class": "fast"}, "nodeSelector": {"disk": "ssd"}, "config": "listen: 0.0.0.0:3001\n"},
    "receiver": {"tolerations": [{"key": "a", "operator": "Exists"}]},
    "operator": {"labels": {"release": "kube-prometheus-stack"}},
    "ingress": {"enabled": True, "annotations": {"nginx.ingress.kubernetes.io/limit-rps": "20"}},
}
SEVERAL: dict[str, object] = yaml.safe_load((CHART / "values-ha.yaml").read_text("utf-8"))
MANAGED: dict[str, object] = {"receiver": {"replicas": 2, "database": {"secret": "rds", "key": "pw"}}}
NOTHING: dict[str, object] = {
    "operator": {"serviceMonitors": False, "rules": False, "alertmanagerConfig": False},
    "dashboards": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
}


PLAIN = {
    "StatefulSet",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "ServiceMonitor",
    "PrometheusRule",
    "AlertmanagerConfig",
}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C where there is one
    """Reads a lone `=` as text, as YAML 1.2 and Kubernetes do; kustomize writes it without quotes."""

    yaml_implicit_resolvers = {
        first: resolvers for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items() if first != "="
    }


def loaded(text: str) -> list[Document]:
    return [one for one in yaml.load_all(text, Loader) if one]  # it is a safe one


def rendered(values: dict[str, object] | None = None, name: str = "heypeter") -> list[Document]:
    return _rendered(json.dumps(values), name)


@cache
def _rendered(values: str, name: str) -> list[Document]:
    with Chart.load(CHART) as chart:
        templates = chart.render(json.loads(values), name=name, namespace="monitoring")
    return [one for text in templates.values() for one in loaded(text)]


@cache
def committed() -> list[Document]:
    files = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")
    return [one for path in files for one in loaded(path.read_text("utf-8"))]


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [one for one in documents if one["kind"] in kinds]


def complaints(document: Document) -> list[str]:
    """What the API server would refuse, or drop."""
    if document["kind"] in SCHEMAS:
        found = validator_for(SCHEMAS[document["kind"]]).iter_errors(document)
        return [f"{document['kind']}: {'.'.join(map(str, error.instance_path))}: {error.message}" for error in found]
    return [f"{document['kind']}: {line}" for version in VERSIONS for line in refused(version, document)]


def refused(version: str, document: Document) -> list[str]:
    validator = of_the_api(version, document["kind"], document["apiVersion"])
    if validator is None:
        return [f"Kubernetes {version} has no such kind in {document['apiVersion']}"]
    return [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(document)]


@cache
def of_the_api(version: str, kind: str, api_version: str) -> Draft202012Validator | None:
    folder = PACKAGE / f"kubernetes-json-schema/v{version}-local-strict"
    group, _, number = api_version.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    if not (folder / f"{name}.json").exists():
        return None
    schema, shared = (json.loads((folder / f"{one}.json").read_text("utf-8")) for one in (name, "_definitions"))
    return Draft202012Validator(schema, registry=Registry([(shared["$id"], shared)]))


@pytest.mark.parametrize(
    "values",
    [None, EVERYTHING, NOTHING, SEVERAL, MANAGED],
    ids=["default", "everything", "nothing", "several", "managed"],
)
def test_the_schemas_accept_everything_that_the_chart_renders(values: dict[str, object] | None) -> None:
    documents = rendered(values)
    assert documents
    assert [line for one in documents for line in complaints(one)] == []


def test_the_schemas_accept_the_base() -> None:
    assert [line for one in committed() for line in complaints(one)] == []


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("StatefulSet", "replicas", "replicass"),
        ("NetworkPolicy", "policyTypes", "policyTipes"),
        ("PodDisruptionBudget", "maxUnavailable", "maxUnavailible"),
        ("ServiceMonitor", "relabelings", "relabellings"),
        ("PrometheusRule", "annotations", "annotation"),
        ("AlertmanagerConfig", "httpConfig", "httpConfigs"),
        ("AlertmanagerConfig", "groupBy", "group_by"),
        ("AlertmanagerConfig", "matchType", "match"),
        ("Deployment", "minReadySeconds", "minReadySecond"),
        ("Deployment", "matchLabelKeys", "matchLabelKey"),
        ("Prometheus", "replicaExternalLabelName", "replicaExternalLabel"),
        ("Alertmanager", "retention", "retain"),
        ("Cluster", "dataDurability", "durability"),
        ("Cluster", "storage", "volume"),
    ],
)
def test_a_misspelt_key_is_found(kind: str, old: str, new: str) -> None:
    document = of_kind(rendered(SEVERAL if kind not in PLAIN else None), kind)[0]
    spoilt = json.loads(json.dumps(document).replace(f'"{old}":', f'"{new}":'))
    assert spoilt != document
    assert complaints(spoilt)


def test_a_kind_without_a_schema_is_a_failure() -> None:
    assert complaints({"apiVersion": "example.com/v1", "kind": "Unknown", "metadata": {"name": "a"}})


def test_helm_finds_nothing_in_the_chart() -> None:
    report = lint(CHART, strict=True)
    worth = [message for message in report["messages"] if "icon is recommended" not in message["error"]]
    assert (worth, report["errors"]) == ([], [])


@pytest.mark.parametrize(
    "values",
    [
        {"imagee": {}},
        {"image": {"receiverDigest": "sha256:abc"}},
        {"receiver": {"storage": {"size": "2"}}},
        {"receiver": {"secret": "Not_A_Name"}},
        {"operator": {"rules": "yes"}},
        {"receiver": {"replicas": 0}},
        {"postgresql": {"durability": "perhaps"}},
    ],
    ids=str,
)
def test_the_schema_of_the_values_refuses_mistakes(values: dict[str, object]) -> None:
    with Chart.load(CHART) as chart:
        chart.validate_schema({})
        with pytest.raises(HelmError):
            chart.validate_schema(values)


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    for name, part in values.items():
        assert set(part) == set(schema["properties"][name]["properties"]), name
    assert set(values) | {"global"} == set(schema["properties"])


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here")
@pytest.mark.parametrize("folder", ["base", "base-ha", "overlays/single", "overlays/ha"])
def test_kustomize_builds_what_the_chart_renders(folder: str) -> None:
    command = ["kubectl", "kustomize", str(ROOT / "deploy/kubernetes" / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # Configurations have a hash in their name, and the overlay has its own images and a namespace.
    text = re.sub(r"(heypeter-(?:exporter|receiver))-[a-z0-9]{10}\b", r"\1", done.stdout)
    built = {(one["kind"], one["metadata"]["name"]): one for one in loaded(text)}
    values = SEVERAL if folder.endswith("ha") else None
    chart = {(one["kind"], one["metadata"]["name"]): one for one in rendered(values)}
    assert set(built) == set(chart)
    if folder.startswith("base"):
        for key, one in chart.items():
            assert built[key].get("spec", {}) == without_checksum(one), key
            if key[0] == "ConfigMap":
                assert built[key]["data"] == one["data"], key
    else:
        images = {c["image"] for one in of_kind(list(built.values()), *WORKLOADS) for c in containers(one)}
        assert all(image.startswith("registry.example.com/heypeter/") for image in images)
        assert {one["metadata"]["namespace"] for one in built.values()} == {"monitoring"}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here")
@pytest.mark.parametrize(("name", "gone"), [("single", "ConfigMap"), ("ha", "Cluster")])
def test_what_is_commented_out_in_an_overlay_works(tmp_path: Path, name: str, gone: str) -> None:
    shutil.copytree(ROOT / "deploy/kubernetes", tmp_path / "kubernetes", ignore=shutil.ignore_patterns("chart"))
    folder = tmp_path / "kubernetes/overlays" / name
    path = folder / "kustomization.yaml"
    text = re.sub(r"^# (?=configMapGenerator:|patches:|  )", "", path.read_text("utf-8"), flags=re.MULTILINE)
    path.write_text(text, "utf-8")
    for own in ("exporter", "receiver"):
        (folder / f"{own}.yml").write_text("of: ours\n", "utf-8")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    built = loaded(done.stdout)
    configs = [
        one for one in of_kind(built, "ConfigMap") if "grafana_dashboard" not in one["metadata"].get("labels", {})
    ]
    assert [one["data"] for one in configs] == [{f"{own}.yml": "of: ours\n"} for own in ("exporter", "receiver")]
    assert len(of_kind(built, gone)) == (2 if gone == "ConfigMap" else 0)
    for one in of_kind(built, "NetworkPolicy"):
        if one["metadata"]["name"] == "heypeter-receiver-database":
            assert one["spec"]["egress"] == [{"ports": [{"port": 5432}]}]


def without_checksum(document: Document) -> Document:
    spec: Document = json.loads(json.dumps(document.get("spec", {})))
    if document["kind"] in WORKLOADS:
        del spec["template"]["metadata"]["annotations"]
    return spec


def containers(document: Document) -> list[Document]:
    found: list[Document] = document["spec"]["template"]["spec"]["containers"]
    return found


def test_rules_are_those_of_the_repository() -> None:
    made = {
        one["metadata"]["name"].removeprefix("heypeter-"): one["spec"] for one in of_kind(committed(), "PrometheusRule")
    }
    assert made == {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "rules").glob("*.yml")}


def test_dashboards_are_those_of_the_repository() -> None:
    made = {name: text for one in of_kind(committed(), "ConfigMap") for name, text in one["data"].items()}
    paths = {path.name: path for path in (ROOT / "grafana/dashboards").glob("*.json")}
    assert set(made) == set(paths)
    for name, path in paths.items():
        assert json.loads(made[name]) == json.loads(path.read_text("utf-8"))
        assert len(made[name]) < 900_000, "the API server takes a megabyte"


@pytest.mark.parametrize("name", ["exporter", "receiver"])
def test_the_configurations_of_several_are_valid(name: str) -> None:
    path = BASE.with_name("base-ha") / f"config/{name}.yml"
    command = [sys.executable, "-m", name, "check", f"--config.file={path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["exporter", "receiver"])
def test_the_configurations_are_valid_and_their_secrets_are_mounted(name: str) -> None:
    path = BASE / f"config/{name}.yml"
    command = [sys.executable, "-m", name, "check", f"--config.file={path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = [one for one in of_kind(committed(), "StatefulSet") if one["metadata"]["name"] == f"heypeter-{name}"]
    mounts = {one["name"]: one["mountPath"] for one in containers(found)[0]["volumeMounts"]}
    assert mounts == {
        "config": "/etc/heypeter",
        "secrets": "/run/secrets",
        "data": "/var/lib/heypeter",
        "tmp": "/tmp",  # noqa: S108  # inside the container
    }


@pytest.mark.parametrize("values", [None, SEVERAL], ids=["one", "several"])
def test_pods_are_confined_and_probed(values: dict[str, object] | None) -> None:
    found = of_kind(rendered(values), *WORKLOADS)
    assert len(found) == 2
    for one in found:
        pod, (container,) = one["spec"]["template"]["spec"], containers(one)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert "cpu" not in container["resources"]["limits"]
        probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
        assert probes == ["/-/ready", "/-/ready", "/-/healthy"]


def test_several_of_everything_are_spread_and_drained_one_at_a_time() -> None:
    documents = rendered(SEVERAL)
    (receiver,), (exporter,) = of_kind(documents, "Deployment"), of_kind(documents, "StatefulSet")
    for one in (receiver, exporter):
        assert one["spec"]["replicas"] == 3
        labels = one["spec"]["selector"]["matchLabels"]
        spread = one["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [(each["topologyKey"], each["labelSelector"]["matchLabels"]) for each in spread] == [
            ("kubernetes.io/hostname", labels),
            ("topology.kubernetes.io/zone", labels),
        ]
    budgets = {one["metadata"]["name"]: one["spec"] for one in of_kind(documents, "PodDisruptionBudget")}
    assert set(budgets) == {f"heypeter-{name}" for name in ("exporter", "receiver", "prometheus", "alertmanager")}
    assert {one["maxUnavailable"] for one in budgets.values()} == {1}
    assert receiver["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "volumeClaimTemplates" in exporter["spec"]
    assert "volumeClaimTemplates" not in receiver["spec"]


def config_of(documents: list[Document], name: str) -> Document:
    (found,) = [one for one in of_kind(documents, "ConfigMap") if one["metadata"]["name"] == f"heypeter-{name}"]
    config: Document = yaml.safe_load(found["data"][f"{name}.yml"])
    return config


def test_receivers_get_the_password_of_their_database() -> None:
    for values, name, key in ((SEVERAL, "heypeter-db-app", "password"), (MANAGED, "rds", "pw")):
        documents = rendered(values)
        (receiver,) = of_kind(documents, "Deployment")
        volumes = {one["name"]: one for one in receiver["spec"]["template"]["spec"]["volumes"]}
        own, database = volumes["secrets"]["projected"]["sources"]
        assert own["secret"] == {"name": "heypeter-receiver"}
        assert database["secret"] == {"name": name, "items": [{"key": key, "path": "database-password"}]}
        assert config_of(documents, "receiver")["postgres"]["password_file"] == "/run/secrets/database-password"
        policies = [one for one in of_kind(documents, "NetworkPolicy") if one["metadata"]["name"].endswith("-database")]
        (egress,) = [rule for one in policies for rule in one["spec"]["egress"]]
        assert egress["ports"] == [{"port": 5432}]
        assert ("to" in egress) == bool(of_kind(documents, "Cluster"))


def test_exporters_know_and_reach_each_other() -> None:
    documents = rendered({**SEVERAL, "exporter": {"replicas": 5}})
    (exporter,) = of_kind(documents, "StatefulSet")
    service = exporter["spec"]["serviceName"]
    (headless,) = [one for one in of_kind(documents, "Service") if one["metadata"]["name"] == service]
    assert headless["spec"]["clusterIP"] == "None"
    peers = config_of(documents, "exporter")["replicas"]["peers"]
    assert peers == [f"http://heypeter-exporter-{number}.{service}:3001" for number in range(5)]
    (policy,) = [one for one in of_kind(documents, "NetworkPolicy") if one["metadata"]["name"] == "heypeter-exporter"]
    ours = {"podSelector": exporter["spec"]["selector"]}
    assert ours in [
        one for rule in policy["spec"]["ingress"] if rule["ports"] == [{"port": "http"}] for one in rule["from"]
    ]
    assert {"ports": [{"port": 3001}], "to": [ours]} in policy["spec"]["egress"]
    assert "replicas" not in config_of(rendered(), "exporter")


def test_several_receivers_on_one_file_are_refused() -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmError, match="needs PostgreSQL"):
        chart.render({"receiver": {"replicas": 2}}, name="heypeter", namespace="monitoring")


def test_a_pair_of_prometheus_sends_to_the_whole_cluster_of_alertmanagers() -> None:
    documents = rendered(SEVERAL)
    (prometheus,), (alertmanager,) = of_kind(documents, "Prometheus"), of_kind(documents, "Alertmanager")
    assert (prometheus["spec"]["replicas"], alertmanager["spec"]["replicas"]) == (2, 3)
    assert prometheus["spec"]["externalLabels"] == {"cluster": "school", "env": "production"}  # inhibitions need env
    assert prometheus["spec"]["replicaExternalLabelName"] == "replica"
    (service,) = prometheus["spec"]["alerting"]["alertmanagers"]
    assert service["name"] == "alertmanager-operated"  # the headless service, not one that balances
    assert alertmanager["spec"]["alertmanagerConfigMatcherStrategy"] == {"type": "None"}
    ours = {"app.kubernetes.io/instance": "heypeter"}
    for kind, selector in (("ServiceMonitor", "serviceMonitorSelector"), ("PrometheusRule", "ruleSelector")):
        assert prometheus["spec"][selector]["matchLabels"] == ours
        assert all(ours.items() <= one["metadata"]["labels"].items() for one in of_kind(documents, kind))
    jobs = {
        e["relabelings"][0]["replacement"] for o in of_kind(documents, "ServiceMonitor") for e in o["spec"]["endpoints"]
    }
    assert jobs == {"heypeter-app", "receiver", "prometheus", "alertmanager"}


def test_a_digest_takes_precedence_over_the_tag() -> None:
    images = {c["name"]: c["image"] for one in of_kind(rendered(EVERYTHING), "StatefulSet") for c in containers(one)}
    assert images == {"exporter": f"heypeter/exporter@sha256:{64 * 'a'}", "receiver": "heypeter/receiver:1.2.3"}


def test_a_changed_configuration_makes_new_pods() -> None:
    def checksums(values: dict[str, object]) -> dict[str, str]:
        found = of_kind(rendered(values), "StatefulSet")
        return {
            o["metadata"]["name"]: o["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for o in found
        }

    before, after = checksums({}), checksums({"receiver": {"config": "external_url: https://a.example\n"}})
    assert {name for name in before if before[name] != after[name]} == {"heypeter-receiver"}


def test_policies_services_and_monitors_name_ports_that_pods_have() -> None:
    documents = rendered()
    ports = {
        one["metadata"]["name"]: {port["name"] for c in containers(one) for port in c["ports"]}
        for one in of_kind(documents, "StatefulSet")
    }
    for one in of_kind(documents, "Service"):
        name = one["metadata"]["name"]
        if name.endswith("-pods"):
            assert {port["targetPort"] for port in one["spec"]["ports"]} == {"http"}
        else:
            assert {port["targetPort"] for port in one["spec"]["ports"]} == ports[name]
    for one in of_kind(documents, "ServiceMonitor"):
        assert {endpoint["port"] for endpoint in one["spec"]["endpoints"]} <= ports[one["metadata"]["name"]]
    for one in of_kind(documents, "NetworkPolicy"):
        allowed = {port["port"] for rule in one["spec"]["ingress"] for port in rule["ports"]}
        assert allowed == ports[one["metadata"]["name"]]


def test_jobs_are_those_that_the_rules_ask_for() -> None:
    jobs = {
        e["relabelings"][0]["replacement"]
        for o in of_kind(rendered(), "ServiceMonitor")
        for e in o["spec"]["endpoints"]
    }
    config = yaml.safe_load((ROOT / "deploy/config/prometheus.yml").read_text("utf-8"))
    assert jobs < {job["job_name"] for job in config["scrape_configs"]}
    assert jobs == {"heypeter-app", "receiver"}


def test_the_ingress_has_the_public_paths_of_the_proxies() -> None:
    assert not of_kind(rendered(), "Ingress")
    (ingress,) = of_kind(rendered(EVERYTHING), "Ingress")
    paths = {path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]}
    nginx = (ROOT / "deploy/proxy/nginx.conf").read_text("utf-8")
    assert paths == set(re.findall(r"location (?:= )?(/\S*)", nginx)) - {"/.well-known/acme-challenge/"}


def test_another_release_has_no_name_of_this_one() -> None:
    for one in rendered(name="other"):
        assert one["metadata"]["name"].startswith("other")
    (config,) = of_kind(rendered(name="other"), "AlertmanagerConfig")
    urls = [hook["url"] for one in config["spec"]["receivers"] for hook in one.get("webhookConfigs", ())]
    assert urls == [
        f"http://other-receiver.monitoring.svc:9095/webhook/{name}" for name in ("alertmanager", "watchdog")
    ]


def routes(route: Document, names: tuple[str, str]) -> Iterator[tuple[object, ...]]:
    """Each route with its receiver, matchers, whether it goes on, and its times; ``names`` are two keys' spellings."""
    matchers = tuple(
        one if isinstance(one, str) else f'{one["name"]} {one["matchType"]} "{one["value"]}"'
        for one in route.get("matchers", ())
    )
    yield route["receiver"], matchers, route.get("continue", False), *(route.get(name) for name in names)
    for below in route.get("routes", ()):
        yield from routes(below, names)


def test_alerts_take_the_routes_of_the_example() -> None:
    config = yaml.safe_load((ROOT / "deploy/config/alertmanager.yml").read_text("utf-8"))
    (made,) = of_kind(committed(), "AlertmanagerConfig")
    ours = list(routes(made["spec"]["route"], ("groupWait", "repeatInterval")))
    assert ours == list(routes(config["route"], ("group_wait", "repeat_interval")))
    assert len(ours) > 5
    for inhibition, original in zip(made["spec"]["inhibitRules"], config["inhibit_rules"], strict=True):
        for ours_, theirs in (("sourceMatch", "source_matchers"), ("targetMatch", "target_matchers")):
            texts = [f'{one["name"]} {one["matchType"]} "{one["value"]}"' for one in inhibition[ours_]]
            assert texts == original[theirs]
        assert inhibition["equal"] == original["equal"]


@pytest.mark.parametrize(
    ("start", "end", "offset", "expected"),
    [
        ("09:00", "17:00", 0, [("09:00", "17:00")]),
        ("22:00", "24:00", 420, [("15:00", "17:00")]),
        ("00:00", "08:00", 420, [("17:00", "24:00"), ("00:00", "01:00")]),
        ("20:00", "24:00", -300, [("01:00", "05:00")]),
        ("00:00", "24:00", 60, [("23:00", "24:00"), ("00:00", "23:00")]),
    ],
)
def test_hours_move_to_utc(start: str, end: str, offset: int, expected: list[tuple[str, str]]) -> None:
    assert [(one["startTime"], one["endTime"]) for one in in_utc(start, end, offset)] == expected


ROUTE = {"receiver": "a"}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"route": {**ROUTE, "match_re": {"a": "b"}}}, "match_re"),
        ({"route": ROUTE, "receivers": [{"name": "a", "pagerduty_configs": []}]}, "pagerduty_configs"),
        ({"route": ROUTE, "templates": ["x"]}, "templates"),
        ({"route": {**ROUTE, "matchers": ["severity"]}}, "severity"),
        (
            {
                "route": ROUTE,
                "time_intervals": [{"name": "n", "time_intervals": [{"times": [], "location": "Europe/Berlin"}]}],
            },
            "Europe/Berlin",
        ),
        ({"route": ROUTE, "time_intervals": [{"name": "n", "time_intervals": [{"weekdays": ["monday"]}]}]}, "times"),
    ],
)
def test_what_the_operator_cannot_express_is_named(config: Document, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        alertmanager_config.spec(config)


def test_a_matcher_is_read() -> None:
    assert matcher('team=~"a|b"') == {"name": "team", "matchType": "=~", "value": "a|b"}


def test_the_split_of_documents_loses_none() -> None:
    text = "---\n".join(kubernetes.render(kubernetes.chart()).values())
    parts = [one for one in kubernetes.documents(text) if loaded(one)]
    assert len(parts) == len(rendered())
