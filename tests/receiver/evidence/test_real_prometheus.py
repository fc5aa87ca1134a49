"""A chart from a real Prometheus: it takes what we ask, and stops when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from deploy.local.ports import free_port
from receiver.app import elapsed, now
from receiver.clients.prometheus import Prometheus
from receiver.evidence.alert_query import POINTS, Absent, AbsentError
from receiver.evidence.charts import Charts
from receiver.messages.i18n import Reader
from tests.receiver.evidence.test_charts import alert, incident

pytestmark = pytest.mark.stack
BINARY = Path(".stack/bin/prometheus").resolve()


@pytest.fixture
async def charts(tmp_path: Path) -> AsyncIterator[Charts]:
    (tmp_path / "prometheus.yml").write_text("{}", "utf-8")
    port = free_port()
    words = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    process = await asyncio.create_subprocess_exec(
        BINARY, *words, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"
    )
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(30):
            while not await _is_ready(session, url):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.05)
        made = Charts({"alertmanager": Prometheus(session, url)}, now, elapsed, CollectorRegistry(), rasteriser=None)
        yield made
        await made.close()
    process.terminate()
    await process.wait()


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def fires(expression: str) -> str:
    return "http://prometheus:9090/graph?" + urlencode({"g0.expr": expression, "g0.tab": "1"})


async def test_a_chart_is_drawn_and_what_prometheus_refuses_is_a_reason(charts: Charts) -> None:
    drawn = await charts.chart(incident(alert(fires("vector(time()) % 3600 > 3000")), opened_at=now()))
    (line,) = drawn.lines
    assert POINTS <= sum(map(len, line.pieces)) <= POINTS + 1
    assert (drawn.limit, drawn.operator) == (3000.0, ">")
    assert "&gt; 3000" in await charts.svg(incident(alert(fires("vector(time()) % 3600 > 3000"))), Reader())
    with pytest.raises(AbsentError) as nothing:
        await charts.chart(incident(alert(fires("nothing_of_this_name > 1")), id=8))
    assert nothing.value.reason is Absent.NO_DATA
    with pytest.raises(AbsentError) as refused:
        await charts.chart(incident(alert(fires('label_replace(up, "a", "b", "c", "(") > 1')), id=9))
    assert refused.value.reason in {Absent.REFUSED, Absent.BAD_EXPRESSION}
