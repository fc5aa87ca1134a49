"""What Grafana is provisioned with, and the compose service: the parts name each other and nothing is left open."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

DATASOURCE = Path("grafana/provisioning/datasources/prometheus.yml")
PROVIDER = Path("grafana/provisioning/dashboards/heypeter.yml")
COMPOSE = Path("deploy/compose/compose.yml")
PROMETHEUS = [Path("deploy/config/prometheus.yml"), Path("deploy/local/prometheus.yml")]


def read(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return settings


def grafana() -> dict[str, Any]:
    service: dict[str, Any] = read(COMPOSE)["services"]["grafana"]
    return service


def mounts() -> dict[str, str]:
    """Folder in the container -> folder here, of what is mounted read-only."""
    volumes = [volume.split(":") for volume in grafana()["volumes"] if volume.startswith(".")]
    assert all(mode == "ro" for _, _, mode in volumes)
    return {inside: outside for outside, inside, _ in volumes}


@pytest.mark.parametrize("path", PROMETHEUS, ids=str)
def test_the_time_interval_is_the_scrape_interval(path: Path) -> None:
    source = read(DATASOURCE)["datasources"][0]
    assert source["jsonData"]["timeInterval"] == read(path)["global"]["scrape_interval"]
    for job in read(path)["scrape_configs"]:
        assert "scrape_interval" not in job, (
            f"{path}: {job['job_name']} has its own interval; $__rate_interval is wrong"
        )


def test_the_data_source_is_one_that_dashboards_and_alerts_can_name() -> None:
    source = read(DATASOURCE)["datasources"][0]
    assert (source["uid"], source["type"], source["jsonData"]["httpMethod"]) == (
        "heypeter-prometheus",
        "prometheus",
        "POST",
    )
    assert source["url"] == "$PROMETHEUS_URL"
    assert "PROMETHEUS_URL" in grafana()["environment"]


def test_exemplars_lead_to_traces_by_the_label_that_the_exporter_writes() -> None:
    destination = read(DATASOURCE)["datasources"][0]["jsonData"]["exemplarTraceIdDestinations"][0]
    assert f'# {{{{{destination["name"]}="' in Path("exporter/exposition/text.py").read_text("utf-8")
    # One $ would be a variable of Grafana's environment, and empty.
    assert "$${__value.raw}" in destination["url"]
    drawn = json.loads(Path("grafana/dashboards/requests.json").read_text("utf-8"))
    assert any(target.get("exemplar") for panel in drawn["panels"] for target in panel.get("targets") or ())


def test_nobody_can_change_or_delete_the_dashboards_in_the_browser() -> None:
    provider = read(PROVIDER)["providers"][0]
    assert provider["disableDeletion"] is True
    assert provider["allowUiUpdates"] is False
    assert (provider["type"], provider["folder"]) == ("file", "HeyPeter Academy")


def test_the_container_finds_dashboards_provisioning_and_home() -> None:
    path = read(PROVIDER)["providers"][0]["options"]["path"]
    assert (COMPOSE.parent / mounts()[path]).resolve() == Path("grafana/dashboards").resolve()
    folder = COMPOSE.parent / mounts()["/etc/grafana/provisioning"]
    assert folder.resolve() == Path("grafana/provisioning").resolve()
    home = grafana()["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(f"{path}/")
    assert (Path("grafana/dashboards") / home.removeprefix(f"{path}/")).is_file()
