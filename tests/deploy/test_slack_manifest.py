"""The manifests of the Slack app: what Slack demands of them, and that they ask for what the receiver uses."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from deploy.generate.slack import SCOPES, manifest
from receiver.web.slack_actions import COMMANDS, INTERACTIVITY

FOLDER = Path("deploy/slack")
FLAG, URL = {"type": "boolean"}, {"type": "string", "pattern": "^https://", "maxLength": 3000}


def text(most: int, least: int = 1) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most}


def only(required: str = "", **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


# The parts of manifest.schema.2.0.0.json (github.com/slackapi/manifest-schema) that we use, with their limits.
SCHEMA = only(
    "display_information",
    _metadata=only(major_version={"type": "integer"}, minor_version={"type": "integer"}),
    display_information=only("name", name=text(35), description=text(140), background_color=text(7, 4)),
    features=only(
        app_home=only(home_tab_enabled=FLAG, messages_tab_enabled=FLAG, messages_tab_read_only_enabled=FLAG),
        bot_user=only("display_name", display_name=text(80), always_online=FLAG),
        slash_commands={
            "type": "array",
            "maxItems": 50,
            "items": only(
                "command description",
                command={**text(32, 2), "pattern": "^/"},
                url=URL,
                description=text(2000),
                usage_hint=text(1000),
                should_escape=FLAG,
            ),
        },
    ),
    oauth_config=only(scopes=only(bot={"type": "array", "maxItems": 255, "items": text(50)})),
    settings=only(
        interactivity=only("is_enabled", is_enabled=FLAG, request_url=URL),
        org_deploy_enabled=FLAG,
        socket_mode_enabled=FLAG,
        token_rotation_enabled=FLAG,
    ),
)


@pytest.mark.parametrize("name", ["manifest-http.json", "manifest-socket-mode.json"])
def test_a_manifest_is_one_that_slack_takes(name: str) -> None:
    jsonschema_rs.validator_for(SCHEMA).validate(json.loads((FOLDER / name).read_text("utf-8")))


def test_urls_are_ours_and_stand_only_where_slack_is_to_reach_us() -> None:
    there, socket = json.dumps(manifest("https://oncall.example.com")), json.dumps(manifest(""))
    assert re.findall('https://[^"]+', there) == [
        f"https://oncall.example.com{COMMANDS}",
        f"https://oncall.example.com{INTERACTIVITY}",
    ]
    assert "https://" not in socket


def test_what_is_called_is_asked_for() -> None:
    """Each method's scope, by docs.slack.dev/reference/methods."""
    scopes = {
        "chat.postMessage": "chat:write",
        "chat.update": "chat:write",
        "users.info": "users:read",
        "views.open": "",
        "views.update": "",
        "apps.connections.open": "",  # of the app's own token
    }
    sources = [*Path("receiver/channels").glob("slack*.py"), *Path("receiver/web").glob("slack*.py")]
    called = {m for path in sources for m in re.findall(r'(?:call|ask)\("([a-z.A-Z]+)"', path.read_text("utf-8"))}
    assert called == set(scopes)
    assert {scopes[method] for method in called} - {""} <= set(SCOPES)
