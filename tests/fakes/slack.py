"""Slack as its documentation describes it: messages, threads, forms, profiles, Socket Mode, incoming webhooks.

Block Kit's limits hold for messages and forms.

An error stands inside a 200; a webhook answers with a word instead.
docs.slack.dev/reference/block-kit/blocks
"""

import asyncio
import itertools
import json
import re
from typing import Any

from aiohttp import web

from tests.fakes.server import FakeServer

MOST_ATTACHMENTS = 100
LONGEST = 13_000  # characters in all that were seen to pass (slackapi/bolt-js issue 2509)
WEBHOOK = "/services/T0/B0/"  # and a secret
RESPONSE = "/actions/T0/1/response"


class FakeSlack(FakeServer):
    """``messages`` lists what was posted, each with its ``ts`` and its channel's name; ``shown`` has it as it is now.

    ``hooks`` maps the secret end of a webhook's path to its channel.
    """

    def __init__(self, token: str, channels: set[str], hooks: dict[str, str] | None = None) -> None:
        super().__init__()
        self._token, self._hooks = token, hooks or {}
        self.ids = {name: f"C{at:04}" for at, name in enumerate(sorted(channels))}
        self.messages: list[dict[str, Any]] = []
        self.shown: dict[str, dict[str, Any]] = {}
        self.errors: list[str] = []
        self.views: dict[str, dict[str, Any]] = {}  # id -> the form as it is shown
        self.users: dict[str, dict[str, Any]] = {}  # id -> the profile
        self.replies: list[dict[str, Any]] = []  # to the response_url of a press or a command
        self.app_token = ""  # of Socket Mode
        self.links: list[web.WebSocketResponse] = []  # those that are and were open
        self.linked = asyncio.Event()
        self._tickets: set[str] = set()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._triggers: set[str] = set()
        self._clock = itertools.count(1)

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Name the first thing that is wrong, as Slack does, or post."""
        if request.path.startswith(WEBHOOK):
            return self._hook(request.path.removeprefix(WEBHOOK), body)
        if request.path == RESPONSE:
            self.replies.append(body)
            return web.Response(text="ok")
        return self._method(request, body) if request.path.startswith("/api/") else web.Response(status=404)

    def _method(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        sent = request.headers.get("Authorization", "")
        if request.path == "/api/apps.connections.open":
            return self._connect(sent)
        checks = (
            ("not_authed", not sent),
            ("invalid_auth", sent != f"Bearer {self._token}"),
            (self.errors.pop(0), True) if self.errors else ("", False),
            (fault_of(body) if request.path.startswith("/api/chat.") else "", True),
        )
        error = next((code for code, applies in checks if code and applies), "")
        if error:
            return _error(error)
        methods = {
            "/api/chat.postMessage": self._post,
            "/api/chat.update": self._update,
            "/api/views.open": self._open,
            "/api/views.update": self._update_view,
        }
        if request.path == "/api/users.info":
            return self._profile(request.query.get("user", ""))
        method = methods.get(request.path)
        return method(body) if method is not None else _error("unknown_method")

    def _connect(self, sent: str) -> web.Response:
        """Give an address for one connection, which holds a ticket."""
        if self.errors:
            return _error(self.errors.pop(0))
        if sent != f"Bearer {self.app_token}":
            return _error("invalid_auth")
        ticket = f"t{next(self._clock)}"
        self._tickets.add(ticket)
        return web.json_response({"ok": True, "url": f"{self.url.replace('http', 'ws')}/link?ticket={ticket}"})

    async def _take(self, request: web.Request) -> web.StreamResponse:
        return await self._link(request) if request.path == "/link" else await super()._take(request)

    async def _link(self, request: web.Request) -> web.StreamResponse:
        """Socket Mode (docs.slack.dev/apis/events-api/using-socket-mode): hello, envelopes, and their answers by id."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=404)
        self._tickets.remove(ticket)
        link = web.WebSocketResponse()
        await link.prepare(request)
        await link.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}})
        self.links.append(link)
        self.linked.set()
        async for message in link:
            answer = message.json()
            self._answers[answer["envelope_id"]].set_result(answer.get("payload"))
        return link

    async def envelope(self, number: str, kind: str, payload: dict[str, Any]) -> asyncio.Future[Any]:
        """Send something; what it gives is done once it has been acknowledged, with the answer."""
        self._answers[number] = asyncio.get_running_loop().create_future()
        sent = {"envelope_id": number, "type": kind, "payload": payload, "accepts_response_payload": True}
        await self.links[-1].send_json(sent)
        return self._answers[number]

    async def refresh(self) -> None:
        """Ask for a new connection, as Slack does every few hours."""
        self.linked.clear()
        await self.links[-1].send_json({"type": "disconnect", "reason": "refresh_requested"})

    def _open(self, body: dict[str, Any]) -> web.Response:
        """A trigger opens one form, soon (docs.slack.dev/reference/methods/views.open)."""
        if body.get("trigger_id") in self._triggers:
            return _error("exchanged_trigger_id")
        self._triggers.add(str(body.get("trigger_id")))
        return self._show(f"V{len(self.views) + 1:04}", body)

    def _update_view(self, body: dict[str, Any]) -> web.Response:
        known = self.views.get(body.get("view_id", ""))
        if known is None:
            return _error("not_found")
        return self._show(body["view_id"], body) if known["hash"] == body.get("hash") else _error("hash_conflict")

    def _show(self, number: str, body: dict[str, Any]) -> web.Response:
        wrong = fault_of_view(body["view"])
        if wrong:
            return web.json_response({"ok": False, "error": "invalid_arguments", "wrong": wrong})
        view = {**body["view"], "id": number, "hash": f"h{next(self._clock)}"}
        self.views[number] = view
        return web.json_response({"ok": True, "view": view})

    def _profile(self, user: str) -> web.Response:
        if user not in self.users:
            return _error("user_not_found")
        return web.json_response({"ok": True, "user": {"id": user, **self.users[user]}})

    def _post(self, body: dict[str, Any]) -> web.Response:
        names = {number: name for name, number in self.ids.items()}
        channel = names.get(body.get("channel", ""), body.get("channel", ""))  # a name or an id
        if channel not in self.ids:
            return _error("channel_not_found")
        root = body.get("thread_ts")
        of_channel = (m for m in reversed(self.messages) if m["channel"] == channel and "thread_ts" not in m)
        if root and not any(m["ts"] == root for m in of_channel):
            return _error("thread_not_found")
        return self._kept({**body, "channel": channel})

    def _kept(self, body: dict[str, Any]) -> web.Response:
        message = {**body, "ts": f"1795000000.{next(self._clock):06}"}
        self.messages.append(message)
        self.shown[message["ts"]] = message
        number = self.ids[body["channel"]]
        return web.json_response({"ok": True, "channel": number, "ts": message["ts"], "message": {}})

    def _update(self, body: dict[str, Any]) -> web.Response:
        if body.get("channel") not in self.ids.values():
            return _error("channel_not_found")  # a name will not do here
        if body.get("ts") not in self.shown:
            return _error("message_not_found")
        self.shown[body["ts"]] = {**self.shown[body["ts"]], **body}
        return web.json_response({"ok": True, "channel": body["channel"], "ts": body["ts"]})

    def _hook(self, secret: str, body: dict[str, Any]) -> web.Response:
        error = "no_service" if secret not in self._hooks else self.errors.pop(0) if self.errors else fault_of(body)
        if error:
            status = {"no_service": 404, "action_prohibited": 403, "channel_is_archived": 410, "rollup_error": 500}
            return web.Response(status=status.get(error, 400), text=error)
        self._kept({**body, "channel": self._hooks[secret]})
        return web.Response(text="ok")


def fault_of(body: dict[str, Any]) -> str:
    """Give the word for what is wrong with a message, if anything is."""
    attachments = body.get("attachments") or []
    if not body.get("text") and not attachments:
        return "no_text"
    if len(attachments) > MOST_ATTACHMENTS:
        return "too_many_attachments"
    content = re.sub(
        r"\\(u[0-9a-f]{4}|.)", "x", json.dumps(attachments, ensure_ascii=False)
    )  # an escape is one character
    if len(body.get("text", "")) + len(content) > LONGEST:
        return "msg_too_long"
    wrong = [block for holder in (body, *attachments) for block in holder.get("blocks", []) if not _valid(block)]
    too_many = any(len(a.get("blocks", [])) > 50 for a in attachments)
    return "invalid_blocks" if wrong or too_many else ""


def fault_of_view(view: dict[str, Any]) -> str:
    """Say what is wrong with a form, if anything is (docs.slack.dev/reference/views)."""
    for part in ("title", "submit", "close"):
        if part in view and not 0 < len(view[part]["text"]) <= 24:
            return f"{part}: longer than 24"
    ids = [block["block_id"] for block in view["blocks"] if "block_id" in block]
    wrong = [block for block in view["blocks"] if not _valid(block)]
    if wrong or len(view["blocks"]) > 100 or len(set(ids)) != len(ids) or len(view.get("private_metadata", "")) > 3000:
        return f"blocks: {wrong}"
    asks = any(block["type"] == "input" for block in view["blocks"])
    return "submit: required with an input" if asks and "submit" not in view else ""


def _valid(block: dict[str, Any]) -> bool:  # noqa: C901, PLR0911  # one for each kind of block
    if not len(block.get("block_id", "-")) <= 255:
        return False
    match block:
        case {"type": "section", "text": {"type": "mrkdwn", "text": text}, "accessory": accessory}:
            return 0 < len(text) <= 3000 and _valid_element(accessory)
        case {"type": "input", "label": {"type": "plain_text", "text": label}, "element": element}:
            return 0 < len(label) <= 2000 and _valid_element(element)
        case {"type": "header", "text": {"type": "plain_text", "text": text}}:
            return 0 < len(text) <= 150
        case {"type": "section", "text": {"type": "mrkdwn", "text": text}}:
            return 0 < len(text) <= 3000
        case {"type": "section", "fields": fields}:
            return 0 < len(fields) <= 10 and all(0 < len(field["text"]) <= 2000 for field in fields)
        case {"type": "context", "elements": elements}:
            return 0 < len(elements) <= 10
        case {"type": "image", "image_url": url, "alt_text": words}:
            return 0 < len(url) <= 3000 and 0 < len(words) <= 2000
        case {"type": "actions", "elements": elements}:
            ids = [element["action_id"] for element in elements]
            return 0 < len(elements) <= 25 and len(set(ids)) == len(ids) and all(map(_valid_element, elements))
    return False


def _valid_element(element: dict[str, Any]) -> bool:
    match element:
        case {"type": "static_select"}:
            return _valid_menu(element)
        case {"type": "radio_buttons" | "checkboxes", "options": options}:
            chosen = element.get("initial_option", options[0])
            return 0 < len(options) <= 10 and all(map(_valid_option, options)) and chosen in options
        case {"type": "plain_text_input"}:
            return 0 < int(element.get("max_length", 3000)) <= 3000
        case {"type": "datetimepicker"}:
            return len(str(element.get("initial_date_time", 10**9))) == 10
    return _valid_button(element)


def _valid_menu(menu: dict[str, Any]) -> bool:
    """Say whether it is a menu (docs.slack.dev/reference/block-kit/block-elements/select-menu-element)."""
    groups = menu.get("option_groups") or [{"options": menu["options"]}]
    if len(groups) > 100 or not 0 < len(menu.get("placeholder", {"text": "-"})["text"]) <= 150:
        return False
    return all(0 < len(group["options"]) <= 100 and all(map(_valid_option, group["options"])) for group in groups)


def _valid_option(option: dict[str, Any]) -> bool:
    return 0 < len(option["text"]["text"]) <= 75 and 0 < len(option["value"]) <= 150


def _valid_button(button: dict[str, Any]) -> bool:
    text, url, value = button["text"], button.get("url"), button.get("value", "")
    if button["type"] != "button" or text["type"] != "plain_text" or not 0 < len(text["text"]) <= 75:
        return False
    if "confirm" in button and not _may_ask(button["confirm"]):
        return False
    return len(value) <= 2000 and (url is None or (url.startswith(("http://", "https://")) and len(url) <= 3000))


def _may_ask(confirm: dict[str, Any]) -> bool:
    """Say whether it is a confirmation dialog (docs.slack.dev/reference/block-kit/composition-objects)."""
    most = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
    return set(confirm) == set(most) and all(0 < len(confirm[part]["text"]) <= most[part] for part in most)


def _error(code: str) -> web.Response:
    return web.json_response({"ok": False, "error": code})
