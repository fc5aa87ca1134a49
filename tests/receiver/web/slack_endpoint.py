"""What Slack talks to, made for tests, and its signature."""

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import aiohttp

from process.settings import Secret
from receiver.actions.answer import Actions
from receiver.actions.duty import Duty
from receiver.channels.slack_api import SlackApi
from receiver.policy.current import Current
from receiver.store.sql.store import SQLStore
from receiver.web.slack_actions import SlackActions
from receiver.web.slack_commands import SlackCommands
from receiver.web.slack_handler import SlackHandler
from receiver.web.slack_people import SlackPeople
from receiver.web.slack_replies import SlackReplies


def a_handler(
    actions: Actions,
    store: SQLStore,
    current: Current,
    session: aiohttp.ClientSession,
    api: SlackApi | None = None,
    soon: float = 30.0,
) -> SlackHandler:
    """Replies go to this machine."""
    people = SlackPeople(current, actions.clock, api)
    duty = Duty(store, store.duty, current, actions.clock)
    commands = SlackCommands(actions, store, current, duty, people)
    replies = SlackReplies(session, ("127.0.0.1",))
    return SlackHandler(actions, store, current, people, replies, commands, api, soon)


def an_endpoint(  # what it is made of
    actions: Actions,
    store: SQLStore,
    current: Current,
    session: aiohttp.ClientSession,
    secret: str,
    api: SlackApi | None = None,
) -> SlackActions:
    """The two endpoints."""
    return SlackActions(a_handler(actions, store, current, session, api), Secret(secret), actions.clock)


def signed(body: bytes, stamp: str, secret: str) -> dict[str, str]:
    """The headers of a request that Slack sends."""
    made = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    content = "application/x-www-form-urlencoded"
    return {"X-Slack-Signature": f"v0={made}", "X-Slack-Request-Timestamp": stamp, "Content-Type": content}


def interaction(payload: dict[str, Any]) -> bytes:
    """The body of a press."""
    return urlencode({"payload": json.dumps(payload)}).encode()
