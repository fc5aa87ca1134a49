"""The channels of receiver.yml: each example of the documentation is built, and what could not be sent is refused."""

import base64
import json
import re
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from process.settings import Secret, SettingsError
from receiver.app import build_channels
from receiver.channels.apprise import Apprise
from receiver.channels.base import Channel, Failure, SendError
from receiver.channels.declaration import Place, Setup
from receiver.channels.email import Email
from receiver.channels.log import Log
from receiver.channels.pagerduty import PagerDutyEvents, PagerDutyRest
from receiver.channels.registry import CHANNELS, declaration
from receiver.channels.slack import Slack, SlackWebhooks
from receiver.channels.webhook import Webhook, content
from receiver.config.load import load, missing_secret_files
from receiver.config.people import Places
from tests.fakes.endpoint import FakeEndpoint, signed_by
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.receiver.channels.test_channels import message
from tests.receiver.example_site import START

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
DOCUMENT = Path("docs/channels.md").read_text("utf-8")
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)]
SIGNING = "whsec_" + "QUJD" * 11
FILES = {
    "signing": SIGNING,
    "ntfy": "ntfy://s3cret-topic",
    "teams": "json://127.0.0.1/s3cret",
    "sms": "json://127.0.0.1/sms",
}
BASE: dict[str, Any] = {
    "external_url": "https://oncall.example.com",
    "database": "receiver.sqlite3",
    "webhook": {"token": "t"},
    "api": {"token": "t"},
    "links": {"secret": "s" * 32},
    "severities": {"critical": "P1"},
    "response_times": {"P1": "15m", "P2": "30m", "P3": "2h", "P4": "24h"},
    "escalation_matrix": [{"after": "0m", "P1": "engineer", "P2": "engineer", "P3": "engineer", "P4": "engineer"}],
    "roles": {"engineer": ["linh"]},
    "people": {"linh": {"name": "Linh Tran"}},
    "teams": {"default": {}},
}


def written(folder: Path, settings: dict[str, Any]) -> Path:
    path = folder / "receiver.yml"
    path.write_text(yaml.safe_dump({**BASE, **settings}, allow_unicode=True, sort_keys=False), "utf-8")
    path.chmod(0o600)  # it holds secrets
    return path


@asynccontextmanager
async def built(path: Path, secrets: list[Secret] | None = None) -> AsyncIterator[dict[str, Channel]]:
    """Build what the file says; afterwards nothing stays open."""
    config, source = load(path)
    held = [] if secrets is None else secrets
    async with aiohttp.ClientSession() as session:
        with ExitStack() as closing:

            def setup(name: str) -> Setup:
                return Setup(Place(source, name), session, held, closing, config.external_url)

            yield dict(build_channels(config.channels, setup))


@pytest.mark.parametrize("settings", EXAMPLES, ids=lambda settings: "-".join(settings["channels"]))
async def test_each_example_of_the_documentation_is_built(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = written(tmp_path, settings)
    files = [file for _, file in missing_secret_files(load(path)[0])]
    assert files
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text(next((text for word, text in FILES.items() if word in file.name), f"of {file.name}"), "utf-8")
    secrets: list[Secret] = []
    async with built(path, secrets) as channels:
        assert sorted(channels) == sorted(settings["channels"])
    assert {secret.reveal() for secret in secrets} == {file.read_text("utf-8") for file in files}


def test_the_documentation_has_an_example_of_every_channel() -> None:
    assert {name for settings in EXAMPLES for name in settings["channels"]} == {
        *("pagerduty", "slack", "email", "sms", "call", "push", "apprise", "webhook")
    }


def test_people_have_a_key_for_each_channel_that_declares_one() -> None:
    assert {name for name in CHANNELS if declaration(name).own_key} == set(Places().own())


def test_the_documented_body_is_the_one_that_is_sent() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    labels = {"alertname": "HighErrorRate", "team": "backend"}
    sent = json.loads(content(message(number=12, labels=labels, opened_at=START, fields=(("Priority", "P1"),))))
    sent["data"]["links"][0]["url"] = "https://oncall.example.com/answer/..."
    assert json.loads(shown) == sent


SECRET = {"token": "s3cret-token"}
EVENTS = {"services": {"ops": {"routing_key": "s3cret-key"}}}
REST = {"mode": "rest", "from": "a@example.com", "api_token": "s3cret-api", "services": {"ops": {"service_id": "P1"}}}
HOOKS = {"webhooks": {"#alerts": {"url": "http://127.0.0.1:9/s3cret"}}}
MAIL = {"host": "localhost", "from": "a@example.com", "password": "s3cret-password"}
APPRISE = {"services": {"ops": {"url": "json://127.0.0.1/s3cret"}}}
ENDPOINTS = {"endpoints": {"ops": {"url": "https://example.com/", "secret": SIGNING}}}


@pytest.mark.parametrize(
    ("channel_settings", "kinds", "held"),
    [
        ({}, {"log": Log}, set()),
        ({"log": {}, "slack": SECRET}, {"slack": Slack, "log": Log}, {"s3cret-token"}),
        ({"pagerduty": EVENTS}, {"pagerduty": PagerDutyEvents}, {"s3cret-key"}),
        ({"pagerduty": REST}, {"pagerduty": PagerDutyRest}, {"s3cret-api"}),
        ({"slack": HOOKS}, {"slack": SlackWebhooks}, {"http://127.0.0.1:9/s3cret"}),
        ({"slack": {**HOOKS, **SECRET}}, {"slack": SlackWebhooks}, {"http://127.0.0.1:9/s3cret", "s3cret-token"}),
        ({"email": MAIL}, {"email": Email}, {"s3cret-password"}),
        ({"apprise": APPRISE}, {"apprise": Apprise}, {"json://127.0.0.1/s3cret"}),
        ({"webhook": ENDPOINTS}, {"webhook": Webhook}, {SIGNING}),
    ],
)
async def test_each_channel_is_built_and_each_secret_remembered(
    tmp_path: Path, channel_settings: dict[str, Any], kinds: dict[str, type], held: set[str]
) -> None:
    secrets: list[Secret] = []
    before = set(threading.enumerate())
    person = {"name": "Linh", "contacts": {}}
    for name in channel_settings:
        address = {"email": "linh@example.com", "slack": "#alerts"}.get(name, "ops")
        if name in {"pagerduty", "slack", "email"}:
            person[name] = address
        elif name != "log":
            person["contacts"] = {name: address}
    async with built(
        written(tmp_path, {"channels": channel_settings, "people": {"linh": person}}), secrets
    ) as channels:
        assert {name: type(channel) for name, channel in channels.items()} == kinds
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not [name for name in left if name.startswith(("pagerduty", "apprise"))]
    assert {secret.reveal() for secret in secrets} == held


async def sent_by(path: Path, name: str) -> None:
    async with built(path) as channels:
        await channels[name].send(message(address="ops", number=12))


async def test_what_the_file_says_of_a_channel_reaches_it(tmp_path: Path) -> None:
    slack, pagerduty, endpoint = FakeSlack("s3cret-token", {"ops"}), FakePagerDuty(set(), "s3cret-api"), FakeEndpoint()
    for server in (slack, pagerduty, endpoint):
        await server.start()
    channels = {
        "slack": {**SECRET, "interactive": True, "signing_secret": "s3cret-signing", "api_url": f"{slack.url}/api/"},
        "pagerduty": {**REST, "region": "eu", "api_url": pagerduty.url},
        "apprise": {"services": {"ops": {"url": endpoint.url.replace("http", "json"), "format": "markdown"}}},
    }
    path = written(tmp_path, {"channels": channels, "people": {"linh": {"name": "Linh", "slack": "U01LINH"}}})
    for name in channels:
        await sent_by(path, name)
    for server in (slack, pagerduty, endpoint):
        await server.stop()
    assert "'action_id': 'acknowledge'" in str(slack.messages)
    assert pagerduty.calls[0].headers["X-Forwarded-Host"] == "api.eu.pagerduty.com"
    assert pagerduty.calls[0].headers["From"] == "a@example.com"
    assert "backend" in endpoint.calls[0].body["message"]  # the text alone does not name the team


async def test_slack_with_both_sends_elsewhere_through_the_bot(tmp_path: Path) -> None:
    nowhere = {**HOOKS, **SECRET, "api_url": "http://127.0.0.1:9/"}
    people = {"linh": {"name": "Linh", "slack": "U01LINH"}}
    async with built(written(tmp_path, {"channels": {"slack": nowhere}, "people": people})) as channels:
        with pytest.raises(SendError) as caught:
            await channels["slack"].send(message(address="U01LINH"))
    assert caught.value.reason is Failure.NETWORK  # and not a bad address


def test_contacts_are_told_after_the_channels_that_have_keys(tmp_path: Path) -> None:
    channels = {"slack": SECRET, "email": MAIL, "pagerduty": EVENTS, "apprise": APPRISE, "webhook": ENDPOINTS}
    person = {
        "name": "Linh",
        "contacts": {"webhook": "ops", "apprise": "ops"},
        "email": "linh@example.com",
        "slack": "U01LINH",
        "pagerduty": "ops",
    }
    team = {"email": ["a@example.com", "b@example.com"], "contacts": {"apprise": "ops"}}
    settings = {"channels": channels, "people": {"linh": person}, "teams": {"default": team}}
    config, _ = load(written(tmp_path, settings))
    assert config.people["linh"].named() == (
        ("pagerduty", "ops"),
        ("slack", "U01LINH"),
        ("email", "linh@example.com"),
        ("webhook", "ops"),
        ("apprise", "ops"),
    )
    assert config.teams["default"].named() == (("email", "a@example.com,b@example.com"), ("apprise", "ops"))


async def test_a_webhook_of_the_file_arrives_signed(tmp_path: Path) -> None:
    server = FakeEndpoint()
    await server.start()
    endpoints = {"endpoints": {"ops": {"url": f"{server.url}/hook", "secret": SIGNING}}}
    person = {"name": "Linh", "contacts": {"webhook": "ops"}}
    await sent_by(written(tmp_path, {"channels": {"webhook": endpoints}, "people": {"linh": person}}), "webhook")
    await server.stop()
    assert signed_by(server.calls[0], SIGNING)


@pytest.mark.parametrize(
    ("channels", "person", "says"),
    [
        ({"slack": {}}, {}, "channels.slack.token: missing"),
        ({"slack": {**SECRET, "interactiv": True}}, {}, "channels.slack.interactiv: unknown key"),
        ({"slack": HOOKS}, {"slack": "#other"}, "no webhook '#other' in channels.slack.webhooks (#alerts)"),
        ({"pagerduty": {"services": {}}}, {}, "channels.pagerduty.services: "),
        ({"pagerduty": {**EVENTS, "region": "asia"}}, {}, "channels.pagerduty.region: invalid value 'asia'"),
        ({"pagerduty": EVENTS}, {"pagerduty": "lead"}, "no service 'lead' in channels.pagerduty.services (ops)"),
        ({"apprise": {"services": {}}}, {}, "channels.apprise.services: "),
        (
            {"apprise": APPRISE},
            {"contacts": {"apprise": "opps"}},
            "no service 'opps' in channels.apprise.services (ops)",
        ),
        ({"apprise": APPRISE}, {"contacts": {"apprise": ""}}, "people.linh.contacts.apprise: empty"),
        ({"apprise": APPRISE}, {"contacts": {"fax": "+49"}}, "people.linh.contacts.fax: unknown channel 'fax'"),
        ({"apprise": APPRISE}, {"contacts": {"log": "x"}}, "people.linh.contacts.log: channel log has no addresses"),
        ({"slack": SECRET}, {"contacts": {"slack": "U1"}}, "people.linh.contacts.slack: "),
        ({"slack": SECRET}, {"contacts": {"webhook": "ops"}}, "channels.webhook is not set up; add it, or remove this"),
        ({"slack": SECRET}, {}, "people.linh: no contact for engineer"),
        ({"apprise": {**APPRISE, "timeout": "2m"}}, {}, "channels.apprise.timeout: invalid timeout '2m'"),
        ({"webhook": {**ENDPOINTS, "timeout": "0s"}}, {}, "channels.webhook.timeout: invalid timeout '0s'"),
        ({"webhook": {"endpoints": {}}}, {}, "channels.webhook.endpoints: "),
        (
            {"webhook": {"endpoints": {"ops": {"url": "example.com", "secret": SIGNING}}}},
            {},
            "channels.webhook.endpoints.ops.url: invalid URL",
        ),
        (
            {"webhook": ENDPOINTS},
            {"contacts": {"webhook": "op"}},
            "no endpoint 'op' in channels.webhook.endpoints (ops)",
        ),
    ],
)
def test_what_could_not_be_sent_is_refused(
    tmp_path: Path, channels: dict[str, Any], person: dict[str, Any], says: str
) -> None:
    terminal: dict[str, Any] = {} if "no contact" in says else {"log": {}}  # it reaches everybody
    people = {"linh": {"name": "Linh", **person}}
    path = written(tmp_path, {"channels": {**channels, **terminal}, "people": people})
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert says in str(caught.value)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(caught.value))
    assert "s3cret" not in str(caught.value)


async def test_a_file_may_hold_two_keys_on_lines_of_their_own_while_one_takes_over(tmp_path: Path) -> None:
    keys = [f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2)]
    (tmp_path / "keys").write_text("\n".join(keys) + "\n", "utf-8")
    endpoints = {"crm": {"url": "https://crm.example.com", "secret_file": "keys"}}
    path = written(tmp_path, {"channels": {"webhook": {"endpoints": endpoints}, "log": {}}})
    secrets = list[Secret]()
    async with built(path, secrets) as channels:
        assert "webhook" in channels
    assert keys[1] in secrets[0].reveal()


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        ({"slack": {"token_file": "none"}}, "channels.slack.token_file: cannot read"),
        ({"slack": {"token_file": "empty"}}, "empty is empty"),
        ({"slack": {"token_file": "empty", "token": "s3cret"}}, "set either token or its *_file twin, not both"),
        (
            {"slack": {"webhooks": {"ops": {}}}},
            "channels.slack.webhooks.ops.url: missing",
        ),
        ({"pagerduty": {"services": {"ops": {}}}}, "channels.pagerduty.services.ops.routing_key: missing"),
        ({"pagerduty": {**REST, "api_token": None}}, "channels.pagerduty.api_token: missing"),
        ({"apprise": {"services": {"ops": {}}}}, "channels.apprise.services.ops.url: missing"),
        (
            {"apprise": {"services": {"ops": {"url": "tgram://s3cret"}}}},
            "channels.apprise.services.ops.url: not a URL that Apprise supports",
        ),
        (
            {"webhook": {"endpoints": {"ops": {"url": "https://a"}}}},
            "channels.webhook.endpoints.ops.secret: missing",
        ),
        (
            {"webhook": {"endpoints": {"ops": {"url": "https://a", "secret": "s3cret"}}}},
            "channels.webhook.endpoints.ops.secret: invalid secret",
        ),
    ],
)
async def test_a_secret_that_is_missing_or_is_none_is_named_and_not_shown(
    tmp_path: Path, channels: dict[str, Any], says: str
) -> None:
    (tmp_path / "empty").touch()
    ((name, _),) = channels.items()
    address = {
        "linh": {"name": "Linh", **({name: "ops"} if name in {"slack", "pagerduty"} else {"contacts": {name: "ops"}})}
    }
    with pytest.raises(SettingsError) as caught:
        async with built(written(tmp_path, {"channels": channels, "people": address})):
            pass
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)
