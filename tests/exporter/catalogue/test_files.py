"""exporter.yml names its catalogue files: others replace or add, and lists are called as those files call them."""

import re
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from exporter.__main__ import main
from exporter.app import Clock, Exporter, Settings
from exporter.catalogue.model import FIELD_TYPES
from exporter.config import Config, load
from exporter.events.decode import field_type
from process.settings import Secret, SettingsError
from tests.exporter.example_exporter import BROWSER, TOKEN, Time, an_application, value

CABINS = """
domains:
  cabin: {from: cabins}
  channel: {values: [quay, web]}
events:
  cabin_sold: {from: private, fields: {cabin: text, channel: text, to: path, price: amount}}
families:
  - {name: cabins_sold_total, type: counter, help: "Cabins sold.", event: cabin_sold, init: true,
     labels: {cabin: cabin, channel: channel}}
  - {name: cabin_price_nok, type: histogram, buckets: fares, help: "Price.", event: cabin_sold,
     value: price, divisor: 100}
buckets:
  fares: [100, 500]
"""


def written(folder: Path, text: str, **files: str) -> Path:
    for name, content in files.items():
        (folder / f"{name}.yml").write_text(content, "utf-8")
    path = folder / "exporter.yml"
    path.write_text(text, "utf-8")
    return path


def started(path: Path) -> Exporter:
    config, _, catalogue = load(path)
    return Exporter(Settings(config, catalogue, Secret("exporter-token")), Clock(Time(), Time()))


async def test_a_catalogue_of_ones_own_needs_nothing_of_the_school(tmp_path: Path) -> None:
    text = "catalogue: [cabins.yml]\nlists: {cabins: [inside, outside]}\nfirst_increment_hold: 0s\n"
    exporter = started(written(tmp_path, text, cabins=CABINS))
    async with TestClient(TestServer(an_application(exporter))) as client:
        data = {"cabin": "inside", "channel": "quay", "to": "/oslo", "price": 49900}
        answer = await client.post("/api/events", json={"type": "cabin_sold", "data": data}, headers=TOKEN)
        assert answer.status == 202
        assert await value(client, "cabins_sold_total", cabin="inside", channel="quay") == 1
        assert await value(client, "cabin_price_nok_sum") == 499
        names = {
            name.split("{")[0].split(" ")[0] for name in (await (await client.get("/metrics")).text()).splitlines()
        }
        assert not {name for name in names if name.startswith(("class_", "payment_", "http_", "auth_"))}
        # Browsers may send none of these events, and the document's endpoints have no event to become.
        beacon = await client.post("/api/pulse", data='{"events": [{"type": "cabin_sold"}]}', headers=BROWSER)
        assert beacon.status == 403  # of another origin
        own = {**BROWSER, "Origin": f"http://{client.host}:{client.port}"}
        assert (await client.post("/api/pulse", data='{"events": [{"type": "cabin_sold"}]}', headers=own)).status == 400
        assert (await client.post("/api/pulse", data='{"events": [{"type": "Event"}]}', headers=own)).status == 400
        page = {"type": "page_load", "data": {"page": "/"}}
        assert (await client.post("/api/metrics", json=page, headers=own)).status == 400
        assert (await client.get("/openapi.json")).status == 200


def test_a_later_file_adds_and_replaces(tmp_path: Path) -> None:
    text = "catalogue: [application, school, cabins.yml]\nlists: {cabins: [inside], plans: [basic]}\n"
    families = {family.name: family for family in load(written(tmp_path, text, cabins=CABINS))[2].families}
    assert {"cabins_sold_total", "http_requests_total", "class_bookings_total"} <= set(families)
    channel = next(label for label in families["class_bookings_total"].labels if label.name == "channel")
    assert channel.values == ("quay", "web")


def test_a_list_that_is_not_given_has_the_catalogues_default(tmp_path: Path) -> None:
    families = {family.name: family for family in load(written(tmp_path, "listen: 127.0.0.1:1\n"))[2].families}
    policy = next(label for label in families["http_rate_limited_total"].labels if label.name == "policy")
    assert policy.values == ("login", "api", "payments", "signup")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("catalogue: [schol]\n", r"exporter.yml:1: catalogue\[0\]: unknown catalogue 'schol'"),
        ("catalogue: []\n", "catalogue"),
        ("catalogue: [own]\n", "unknown catalogue 'own'"),
        ("catalogue: [missing.yml]\n", r"cannot read .*missing.yml: No such file"),
        ("catalogue: [application, odd.yml]\n", r"odd.yml:1: familys: unknown key; did you mean 'families'"),
        ("catalogue: [clash.yml]\n", r"clash.yml:1: families\[0\]: x_total: unknown event 'x'"),
        ("catalogue: [type.yml]\n", r"type.yml:2: events.x.a: unknown type 'txt'"),
        ("catalogue: [empty.yml]\nlists: {routes: [/]}\n", r"exporter.yml:2: lists.routes: no label"),
        ("lists:\n  rutes: [/]\n", r"exporter.yml:2: lists.rutes: .*did you mean 'routes'"),
        ("discover: {page: 5}\n", r"discover.page: .*did you mean 'pages'"),
        ("lists: {Routes: [/]}\n", "lists"),
        ("catalogue: [application]\nbrowser: {refuse: [clik]}\n", "unknown event 'clik'"),
        ("catalogue: [cabins.yml]\nlists: {cabins: [inside], routes: ['/']}\n", "lists.routes: no label"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    clash = '{families: [{name: x_total, type: counter, help: "X.", event: x}]}'
    wrong = "events:\n  x: {from: both, fields: {a: txt}}\n"
    path = written(tmp_path, text, cabins=CABINS, odd="{familys: []}", clash=clash, empty="", type=wrong)
    with pytest.raises(SettingsError, match=says):
        load(path)


def test_a_template_of_a_path_is_checked_whatever_its_list_is_called(tmp_path: Path) -> None:
    quays = CABINS.replace("cabin: {from: cabins}", "cabin: {from: cabins}\n  quay: {from: quays}")
    quays = quays.replace("labels: {cabin: cabin,", "labels: {to: quay, cabin: cabin,")
    text = "catalogue: [cabins.yml]\nlists: {quays: ['/a', '/[...rest]/b']}\n"
    with pytest.raises(SettingsError, match=re.escape("lists.quays[1]")):
        load(written(tmp_path, text, cabins=quays))


def test_the_types_that_a_catalogue_may_use_are_those_that_can_be_decoded() -> None:
    assert all(field_type(name)[0] for name in FIELD_TYPES)


def test_the_shipped_example_passes_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config.file", "deploy/config/exporter.yml"]) == 0
    assert "OK" in capsys.readouterr().out


def test_metrics_doc_describes_the_files_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "catalogue: [cabins.yml]\n", cabins=CABINS)
    assert main(["metrics-doc", "--config.file", str(path)]) == 0
    page = capsys.readouterr().out
    assert ("cabins_sold_total" in page, "class_bookings_total" in page) == (True, False)


def test_the_shipped_catalogue_is_the_schools() -> None:
    assert Config().catalogue == ("application", "school")


def test_a_wrong_origin_is_told_by_an_example(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"origins\[0\]: invalid form \(expected e.g. https://app.example.com\)"):
        load(written(tmp_path, "browser: {origins: [app.example.com]}\n"))
