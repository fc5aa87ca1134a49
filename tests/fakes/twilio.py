"""Twilio as its documentation describes it: messages and calls are taken or refused by code, and requests are signed.

twilio.com/docs/messaging/api/message-resource, docs/voice/api/call-resource, docs/usage/webhooks/webhooks-security.
"""

import base64
import hashlib
import hmac
import itertools
import re
from typing import Any
from xml.etree import ElementTree as ET

from aiohttp import web

from tests.fakes.server import FakeServer

SID = "AC" + "0123456789abcdef" * 2
TOKEN = "auth-s3cret-0123456789abcdef0123"
_LONGEST_BODY, _LONGEST_TWIML = 1600, 4000
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_STATUS = {20003: 401, 20429: 429, 20404: 404}


class FakeTwilio(FakeServer):
    """``taken`` lists the forms; ``refuses`` maps a number to the code of an error."""

    def __init__(self, token: str = TOKEN) -> None:
        super().__init__()
        self.taken: list[dict[str, Any]] = []
        self.refuses: dict[str, int] = {}
        self._authorization = "Basic " + base64.b64encode(f"{SID}:{token}".encode()).decode()
        self._numbers = itertools.count(1)

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Refuse what is wrong as Twilio does."""
        if request.headers.get("Authorization") != self._authorization:
            return self._error(20003, "Authentication Error - invalid username")
        what = request.path.removeprefix(f"/2010-04-01/Accounts/{SID}/")
        kinds = {"Messages.json": ("SM", self._message), "Calls.json": ("CA", self._call)}
        if what not in kinds:
            return self._error(20404, "The requested resource was not found")
        prefix, check = kinds[what]
        code = self.refuses.get(body["To"], 0) or check(body)
        if code:
            return self._error(code, f"refused {body['To']}")
        self.taken.append(body)
        sid = f"{prefix}{next(self._numbers):032x}"
        told = {"account_sid": SID, "body": body.get("Body"), "sid": sid, "status": "queued", "to": body["To"]}
        return web.json_response(told, status=201)

    def _message(self, body: dict[str, Any]) -> int:
        if not _NUMBER.fullmatch(body["To"]):
            return 21211
        if not (body.get("From") or body.get("MessagingServiceSid", "").startswith("MG")):
            return 21603
        return 21617 if len(body["Body"]) > _LONGEST_BODY else 0

    def _call(self, body: dict[str, Any]) -> int:
        if not _NUMBER.fullmatch(body["To"]):
            return 13223
        if len(body["Twiml"]) > _LONGEST_TWIML:
            return 21218
        return 0 if ET.fromstring(body["Twiml"]).tag == "Response" else 12100  # noqa: S314  # our own

    @staticmethod
    def _error(code: int, text: str) -> web.Response:
        status = _STATUS.get(code, 400)
        more = f"https://www.twilio.com/docs/errors/{code}"
        return web.json_response({"code": code, "message": text, "more_info": more, "status": status}, status=status)


def signature(token: str, url: str, form: dict[str, str]) -> str:
    """Sign as Twilio signs what it sends."""
    text = url + "".join(f"{name}{form[name]}" for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()
