"""The support bundle: what is in it, and that no secret is, wherever one can stand."""

import asyncio
import json
import tarfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin
from urllib.parse import quote

import msgspec
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from process.settings import Secret
from receiver.__main__ import main
from receiver.channels.registry import CHANNELS, declaration
from receiver.config.channels import Channels
from receiver.config.load import Config, load
from tests.receiver.channels.test_registry import BASE

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
Capture = pytest.CaptureFixture[str]
Field = tuple[str, str]  # a struct and its field


class Planted:
    """Makes secrets that are like nothing else, each in the file itself or in one of its own."""

    def __init__(self, folder: Path, *, in_files: bool) -> None:
        self.folder, self.in_files, self.texts = folder, in_files, list[str]()

    def text(self, form: str = "{}") -> str:
        self.texts.append(f"pl4nted-{len(self.texts)}-s3cret+/x")
        return form.format(self.texts[-1])

    def secret(self, key: str, form: str = "{}") -> dict[str, str]:
        return self._placed(key, self.text(form))

    def given(self, key: str, text: str) -> dict[str, str]:
        """The same with a text that is bound to a form."""
        self.texts.append(text)
        return self._placed(key, text)

    def _placed(self, key: str, text: str) -> dict[str, str]:
        if not self.in_files:
            return {key: text}
        path = self.folder / f"secret-{len(self.texts)}"
        path.write_text(text, "utf-8")
        return {f"{key}_file": str(path)}


def site(plant: Planted) -> dict[str, Any]:
    """A receiver.yml with a secret in each place that takes one."""
    signing = {"secret": "whsec_" + "QUJD" * 11}
    plant.texts.append(signing["secret"])
    hook = plant.text("https://hooks.example.com/in/{}")
    return {
        **{key: value for key, value in BASE.items() if key != "database"},
        "postgres": {"url": "postgresql://receiver@127.0.0.1:1/heypeter", **plant.secret("password")},
        "webhook": plant.secret("token"),
        "api": plant.secret("token"),
        "links": plant.secret("secret", "{}" + "l" * 32),
        "heartbeat": plant.secret("url", "https://hc.example.com/{}"),
        "alertmanager": {
            "url": plant.text("https://user:{}@am.example.com/alertmanager"),
            "prometheus_url": plant.text("https://prom.example.com/?token={}"),
            "headers": {"X-Scope-OrgID": plant.text()},
            **plant.secret("token"),
        },
        "alertmanagers": [{"name": "eu", "basic_auth": {"username": "receiver", **plant.secret("password")}}],
        "console": {
            "sign_in": {"oidc": {"issuer": "https://id.example.com", "client_id": "r", **plant.secret("client_secret")}}
        },
        "schedules": {
            "week": {
                "time_zone": "UTC",
                "layers": [{"people": ["linh"], "rotation": "weekly", "start": "2026-11-02"}],
                "calendar": plant.secret("url", "https://cal.example.com/{}.ics"),
            }
        },
        "event_webhooks": {
            "status": {
                "url": plant.text("https://status.example.com/in/{}"),
                **plant.given("secret", "whsec_" + "QUJE" * 11),
            }
        },
        "people": {"linh": {"name": "Linh Tran", "email": "linh@private.example.com"}},
        "channels": {
            "pagerduty": {
                "services": {"engineers": plant.secret("routing_key")},
                **plant.secret("api_token"),
                **plant.secret("webhook_secret"),
                "from": "pd@private.example.com",
            },
            "slack": {
                **plant.secret("token"),
                **plant.secret("signing_secret"),
                "socket_mode": plant.given("app_token", "xapp-1-A012345-6789-s3cret"),
                "webhooks": {"#alerts": plant.secret("url", "https://hooks.slack.example/{}")},
            },
            "sms": {"account_sid": f"AC{'0' * 32}", "from": "+15005550006", **plant.secret("auth_token")},
            "call": {"account_sid": f"AC{'0' * 32}", "from": "+15005550006", **plant.secret("auth_token")},
            "apprise": {"services": {"ntfy": plant.secret("url", "ntfy://{}")}},
            "webhook": {"endpoints": {"page": {"url": hook, **signing}}},
            "email": {
                "host": "smtp.example.com",
                "from": "a@private.example.com",
                "username": "a",
                **plant.secret("password"),
            },
        },
    }


def kinds(annotation: Any) -> Iterator[Any]:  # noqa: ANN401  # a type
    """Take a type apart."""
    if get_origin(annotation) in {Union, types.UnionType, list, dict, tuple} or get_args(annotation):
        for part in get_args(annotation):
            yield from kinds(part)
    else:
        yield annotation


def places_of_secrets(struct: Any, seen: set[Any]) -> Iterator[Field]:  # noqa: ANN401  # a type
    """Find every field of every settings struct that holds a secret."""
    if struct in seen:
        return
    seen.add(struct)
    for field in msgspec.structs.fields(struct):
        for kind in kinds(field.type):
            if kind is Secret:
                yield struct.__module__ + struct.__qualname__, field.name
            elif kind is Channels:
                for name in CHANNELS:
                    yield from places_of_secrets(declaration(name).settings, seen)
            elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                yield from places_of_secrets(kind, seen)


def planted_places(value: object) -> Iterator[Field]:
    if isinstance(value, Channels):
        value = dict(value.settings)
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            inner = getattr(value, field.name)
            if isinstance(inner, Secret) or (field.name.endswith("_file") and isinstance(inner, Path)):
                yield type(value).__module__ + type(value).__qualname__, field.name.removesuffix("_file")
            yield from planted_places(inner)
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from planted_places(inner)


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name.removeprefix("support-bundle/"): file.read().decode() for name, file in files.items() if file}


@pytest.fixture(params=[False, True], ids=["inline", "in_files"])
def plant(request: pytest.FixtureRequest, tmp_path: Path) -> Planted:
    return Planted(tmp_path, in_files=request.param)


def test_a_secret_is_planted_in_every_field_that_takes_one(plant: Planted) -> None:
    """A new channel or section with a secret fails here until it is added above."""
    path = plant.folder / "receiver.yml"
    path.write_text(yaml.safe_dump(site(plant)), "utf-8")
    config, _ = load(path)
    assert set(places_of_secrets(Config, set())) == set(planted_places(config))


async def test_no_secret_is_in_the_bundle(plant: Planted, capsys: Capture) -> None:
    path, out, log = (plant.folder / name for name in ("receiver.yml", "out.tar.gz", "receiver.log"))
    path.write_text(yaml.safe_dump(site(plant)), "utf-8")
    said = [
        form for text in plant.texts for form in (text, quote(text, safe=""), json.dumps({"a": text}), f"Bearer {text}")
    ]
    log.write_text("\n".join([*said, "linh@private.example.com", "the last line"]), "utf-8")  # a test

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="Ready.\n" if request.path == "/-/ready" else "\n".join([*said, "receiver_x 1"]))

    app = web.Application()
    app.add_routes([web.get("/-/ready", answer), web.get("/metrics", answer)])
    async with TestServer(app) as server:
        command = ["support-bundle", f"--config.file={path}", f"--receiver.url=http://127.0.0.1:{server.port}"]
        assert await asyncio.to_thread(main, [*command, f"--log.file={log}", f"--out={out}"]) == 0
    files = contents(out)
    assert set(files) == {"README.txt", "receiver.yml", "versions.txt", "ready.txt", "metrics.txt", "receiver.log"}
    for name, text in files.items():
        for form in ("pl4nted", "s3cret", "QUJDQUJD", "private.example.com"):
            assert form not in text, name
    assert "pl4nted" not in "".join(capsys.readouterr())
    assert files["receiver.log"].endswith("the last line")
    assert "receiver_x 1" in files["metrics.txt"]
    assert files["ready.txt"] == "Ready.\n"
    assert "aiohttp 3." in files["versions.txt"]
    shown = yaml.safe_load(files["receiver.yml"])
    assert shown["people"]["linh"]["name"] == "Linh Tran"
    assert shown["channels"]["webhook"]["endpoints"]["page"]["url"] == "https://hooks.example.com/<secret>"
    assert shown["alertmanager"]["url"] == "https://am.example.com/alertmanager"
    assert out.stat().st_mode & 0o077 == 0  # a test


def test_a_receiver_that_does_not_run_and_a_broken_file_still_give_a_bundle(tmp_path: Path, capsys: Capture) -> None:
    path, out = tmp_path / "receiver.yml", tmp_path / "out.tar.gz"
    path.write_text(yaml.safe_dump({**BASE, "roles": {}, "api": {"token": "pl4nted-token"}}), "utf-8")
    command = ["support-bundle", f"--config.file={path}", "--receiver.url=http://127.0.0.1:1"]
    assert main([*command, f"--out={out}"]) == 0
    files = contents(out)
    assert "unknown role 'engineer'" in files["receiver.yml"]
    assert "pl4nted" not in "".join(files.values())
    path.write_text(yaml.safe_dump(BASE), "utf-8")
    assert main([*command, f"--out={out}"]) == 1
    assert "cannot be written" in capsys.readouterr().err
    out.unlink()
    assert main([*command, f"--out={out}"]) == 0
    assert "cannot be asked" in contents(out)["metrics.txt"]
    assert main([*command, f"--out={out}", f"--log.file={tmp_path / 'none'}"]) == 1


def test_only_the_end_of_a_long_log_is_taken(tmp_path: Path) -> None:
    path, log, out = (tmp_path / name for name in ("receiver.yml", "log", "out.tar.gz"))
    path.write_text(yaml.safe_dump(BASE), "utf-8")
    log.write_text("".join(f"line {number:07d} of the log\n" for number in range(300_000)), "utf-8")
    command = ["support-bundle", f"--config.file={path}", "--receiver.url=http://127.0.0.1:1", f"--log.file={log}"]
    assert main([*command, f"--out={out}"]) == 0
    lines = contents(out)["receiver.log"].splitlines()
    assert lines[-1] == "line 0299999 of the log"
    assert lines[0].startswith("line ")
    assert 200_000 < len(lines) < 300_000
