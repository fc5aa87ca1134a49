"""What amtool cannot judge: in the real Alertmanager a cause hides its consequences, and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.rules.alertmanager import CONFIG, LABELS, Alertmanager, alert, configured

pytestmark = pytest.mark.stack

BURNING = {"SLOBurnRateFast", "SLOBurnRateHigh", "SLOBurnRateElevated", "SLOBurnRateSlow"}
SLOW_PAGES = {"SlowResponseTime", "ApiLatencyAboveBenchmark"}
FEWER = {"LowUserRegistrations", "RegistrationsBelowBenchmark", "BookingsBelowBenchmark"}
UNPAID = {"PaymentFailureRate", "PaymentSuccessBelowBenchmark"}
GONE = {
    *({"HighErrorRate", "SlowResponseTime", "PaymentsStopped", "AuditLogSilent", "NginxDown"} | BURNING | FEWER),
    "UptimeBelowBenchmark",
}
# The cause, and all that it hides while every other alert fires as well, the other causes of this table aside.
HIDDEN_BY = {
    "DatabaseDown": {
        *({"HighErrorRate", "HighDatabaseConnections", "DatabaseQueryLatencyAboveBenchmark", "PaymentFailureRate"}),
        *({"AuditLogSilent"} | SLOW_PAGES | FEWER | BURNING),
    },
    "HighErrorRate": {"LowUserRegistrations", "SlowResponseTime"},
    "ApplicationDown": GONE - {"HighErrorRate"},
    "SiteUnreachable": GONE - {"HighErrorRate"},
    "RedisDown": {"CacheHitRateLow"} | SLOW_PAGES,
    "PaymentOutage": UNPAID,
    "PaymentFailureRate": {"PaymentSuccessBelowBenchmark"},
    "DiskSpaceCritical": {"DiskWillFillIn24Hours"},
    "HighMemoryUsage": {"MemoryAboveBenchmark"},
    "SlowResponseTime": {"ApiLatencyAboveBenchmark"},
    "AlertmanagerDown": {"AlertmanagerClusterSplit", "PrometheusErrorSendingAlerts"},
    "SLOBurnRateFast": BURNING - {"SLOBurnRateFast"},
    "SLOBurnRateHigh": {"SLOBurnRateElevated", "SLOBurnRateSlow"},
    "SLOBurnRateElevated": {"SLOBurnRateSlow"},
}
CAUSES = set(HIDDEN_BY)


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[Alertmanager]:
    async with aiohttp.ClientSession() as session:
        running = Alertmanager(tmp_path / "alertmanager", session)
        config = configured("http://127.0.0.1:9/", {}, None)
        # Nobody is told here: only what is hidden is asked for.
        config["receivers"] = [{"name": receiver["name"]} for receiver in config["receivers"]]
        await running.start(config)
        yield running
        await running.kill()


def test_the_table_of_causes_is_that_of_the_configuration() -> None:
    sources = {
        name
        for rule in yaml.safe_load(CONFIG.read_text("utf-8"))["inhibit_rules"]
        for matcher in rule["source_matchers"]
        if matcher.startswith("alertname")
        for name in matcher.split('"')[1].split("|")
    }
    assert sources == CAUSES, f"{CONFIG}: each cause needs its line in HIDDEN_BY"


@pytest.mark.parametrize("cause", HIDDEN_BY)
async def test_a_cause_hides_its_consequences_alone(alertmanager: Alertmanager, cause: str) -> None:
    others = [name for name in LABELS if name not in CAUSES - HIDDEN_BY[cause] - {cause}]
    # A consequence that is a cause itself hides things too: what it adds is in its own line of the table.
    below = set[str]().union(*(HIDDEN_BY.get(name, set()) for name in HIDDEN_BY[cause]))
    await alertmanager.fire(*(alert(name, "production") for name in others))
    await alertmanager.caught_up()
    hidden = await alertmanager.hidden("production")
    assert hidden == (HIDDEN_BY[cause] | below) & set(others), f"{CONFIG}: inhibit_rules"
    everything = {shown["labels"]["alertname"] for shown in await alertmanager.ask("alerts?filter=env=production")}
    assert everything == set(others), "hidden alerts stay visible in Alertmanager"


async def test_without_a_cause_nothing_is_hidden(alertmanager: Alertmanager) -> None:
    await alertmanager.fire(*(alert(name, "production") for name in LABELS if name not in CAUSES))
    await alertmanager.caught_up()
    assert await alertmanager.hidden("production") == set()


async def test_one_environment_does_not_hide_another(alertmanager: Alertmanager) -> None:
    await alertmanager.fire(*(alert(cause, "staging") for cause in CAUSES))
    consequences = set[str]().union(*HIDDEN_BY.values())
    await alertmanager.fire(*(alert(name, "production") for name in consequences - CAUSES))
    await alertmanager.caught_up()
    assert await alertmanager.hidden("production") == set(), f"{CONFIG}: inhibit_rules need equal: [env]"


async def test_one_objective_does_not_hide_another(alertmanager: Alertmanager) -> None:
    await alertmanager.fire(
        alert("SLOBurnRateFast", "production", slo="http-availability"),
        alert("SLOBurnRateSlow", "production", slo="http-availability"),
        alert("SLOBurnRateSlow", "production", slo="payment-success"),
    )
    await alertmanager.caught_up()
    alerts = await alertmanager.ask("alerts?filter=env=production")
    hidden = [one["labels"]["slo"] for one in alerts if one["status"]["inhibitedBy"]]
    assert hidden == ["http-availability"]


SLOS = ("http-availability", "http-latency", "payment-success", "site-uptime")
# The alert on what burns an objective, that objective, and the degrees of burning that it hides.
ONE_TROUBLE = [
    ("HighErrorRate", "http-availability", BURNING),
    ("PaymentOutage", "payment-success", BURNING),
    ("PaymentFailureRate", "payment-success", BURNING),
    ("SlowResponseTime", "http-latency", BURNING - {"SLOBurnRateFast"}),
]


@pytest.mark.parametrize(("cause", "slo", "degrees"), ONE_TROUBLE)
async def test_what_burns_an_objective_hides_the_burning_of_that_objective_alone(
    alertmanager: Alertmanager, cause: str, slo: str, degrees: set[str]
) -> None:
    # One environment for each degree: the worse ones hide the milder ones as well.
    for degree in BURNING:
        await alertmanager.fire(alert(cause, degree), *(alert(degree, degree, slo=other) for other in SLOS))
    await alertmanager.caught_up()
    inhibited = [one for one in await alertmanager.ask("alerts?filter=slo=~.%2B") if one["status"]["inhibitedBy"]]
    hidden = {(one["labels"]["alertname"], one["labels"]["slo"]) for one in inhibited}
    assert hidden == {(degree, slo) for degree in degrees}, f"{CONFIG}: inhibit_rules"


async def test_one_disk_does_not_hide_another(alertmanager: Alertmanager) -> None:
    full = {"instance": "db-1", "mountpoint": "/"}
    await alertmanager.fire(
        alert("DiskSpaceCritical", "production", **full),
        alert("DiskWillFillIn24Hours", "production", **full | {"mountpoint": "/data"}),
    )
    await alertmanager.caught_up()
    assert await alertmanager.hidden("production") == set(), f"{CONFIG}: disks are told apart by their mountpoint"


async def test_critical_hides_the_milder_alert_of_the_same_name_on_the_same_instance(
    alertmanager: Alertmanager,
) -> None:
    milder = {"severity": "warning", "priority": "P2"}
    await alertmanager.fire(
        alert("HighMemoryUsage", "production", instance="a"),
        alert("HighMemoryUsage", "production", instance="a", **milder),
        alert("HighMemoryUsage", "elsewhere", instance="b", **milder),
    )
    await alertmanager.caught_up()
    assert await alertmanager.hidden("production") == {"HighMemoryUsage"}
    assert await alertmanager.hidden("elsewhere") == set()
