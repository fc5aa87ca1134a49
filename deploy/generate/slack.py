"""Writes the manifests of the Slack app: one for a receiver that Slack can reach, one for Socket Mode.

docs.slack.dev/reference/app-manifest; github.com/slackapi/manifest-schema has its schema, manifest.schema.2.0.0.json.
"""

import json
from pathlib import Path

from receiver.web.slack_actions import COMMANDS, INTERACTIVITY

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "https://oncall.example.com"  # external_url of the examples
# What each is for: https://docs.slack.dev/reference/scopes
SCOPES = (
    "chat:write",  # chat.postMessage and chat.update
    "chat:write.public",  # in public channels that nobody has invited the app to
    "commands",  # /oncall
    "users:read",  # users.info: who pressed a button
    "users:read.email",  # by the address of their profile
)


def texts() -> dict[Path, str]:
    """Give the text of each file."""
    folder = ROOT / "deploy/slack"
    made = {"manifest-http.json": manifest(ADDRESS), "manifest-socket-mode.json": manifest("")}
    return {folder / name: f"{json.dumps(content, indent=2)}\n" for name, content in made.items()}


def manifest(address: str) -> dict[str, object]:
    """Describe the app; without an ``address`` everything comes by Socket Mode, and URLs are refused."""
    command: dict[str, object] = {
        "command": "/oncall",
        "description": "Who is on call, open incidents, pages, snoozes and covers",
        "usage_hint": "who | incidents | page @name what is wrong | snooze 12 2h | cover 18:00 22:00 @name",
        "should_escape": True,  # names that are mentioned come as ids
    }
    interactivity: dict[str, object] = {"is_enabled": True}
    if address:
        command["url"], interactivity["request_url"] = f"{address}{COMMANDS}", f"{address}{INTERACTIVITY}"
    return {
        "_metadata": {"major_version": 2, "minor_version": 1},
        "display_information": {
            "name": "HeyPeter Monitoring",
            "description": "Pages whoever is on call, and takes their answer",
            "background_color": "#1f2933",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": True,
            },
            "bot_user": {"display_name": "HeyPeter", "always_online": True},
            "slash_commands": [command],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": not address,
            "token_rotation_enabled": False,  # the receiver reads its token from a file
        },
    }
