"""Turns what Alertmanager's receivers send to into places and channels of receiver.yml; copies no secret. Pure.

A secret that Alertmanager reads from a file is read from the same file. One that stands in alertmanager.yml itself is
left to a person: it is listed in ``to_fill``.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from process.yaml_text import text
from receiver.init.alertmanager_file import AlertmanagerFile, Integrations

OURS, BEATS = "/webhook/alertmanager", "/webhook/watchdog"  # where a receiver of ours is sent to
_MAIL = re.compile(r"[^@\s{}<>]+@[^@\s{}<>]+")
_TAKEN = {"email", "slack", "pagerduty"}
_LOCAL = {"localhost", "127.0.0.1", "[::1]"}


def _encryption(port: int, require_tls: object) -> dict[str, str]:
    """Give `tls` where it differs from the default: as Alertmanager, which uses STARTTLS only if TLS is required."""
    if port == 465:  # noqa: PLR2004  # submissions, RFC 8314
        return {"tls": "implicit"}
    return {"tls": "none"} if text(require_tls).lower() in {"false", "no", "off", "n"} else {}


def sends_here(receiver: Integrations, path: str = OURS) -> bool:
    """Say whether it sends to a receiver of ours already."""
    return any(path in str(one.get("url", "")) for one in receiver.by_kind.get("webhook", []))


class Places:
    """``of`` gives a receiver's places; ``channels`` collects what they need, ``to_fill`` and ``remarks`` lines."""

    def __init__(self, file: AlertmanagerFile, folder: Path) -> None:
        self._file, self._folder = file, folder
        self.channels: dict[str, dict[str, Any]] = {}
        self.to_fill: list[str] = []
        self.remarks: list[str] = []
        self._made: dict[str, dict[str, object]] = {}

    def of(self, name: str) -> dict[str, object]:
        """Give the places of a receiver, as a team or a route has them."""
        if name not in self._made:
            self._made[name] = self._make(self._file.receivers[name])
        return self._made[name]

    def _make(self, receiver: Integrations) -> dict[str, object]:
        places: dict[str, object] = {}
        mails = [mail for one in receiver.by_kind.get("email", []) for mail in self._mails(receiver, one)]
        if mails:
            places["email"] = mails
        for one in receiver.by_kind.get("slack", [])[:1]:
            channel = self._slack(receiver, one)
            if channel:
                places["slack"] = channel
        for one in receiver.by_kind.get("pagerduty", [])[:1]:
            if self._pagerduty(receiver, one):
                places["pagerduty"] = receiver.name
        for kind, entries in receiver.by_kind.items():
            left = len(entries) - (1 if kind in {"slack", "pagerduty"} else len(entries) if kind == "email" else 0)
            if left > 0 and not (sends_here(receiver) or sends_here(receiver, BEATS)):
                what = f"{left} more of {kind}_configs" if kind in _TAKEN else f"{kind}_configs"
                self._remark(receiver, f"{what} not taken over; Alertmanager goes on sending there")
        return places

    def _remark(self, receiver: Integrations, text: str) -> None:
        self.remarks.append(f"receiver {receiver.name!r}: {text}")

    def _mails(self, receiver: Integrations, entry: Mapping[str, Any]) -> Iterator[str]:
        self._email_channel(entry)
        for mail in (part.strip() for part in str(entry.get("to", "")).split(",")):
            address = re.sub(r".*<(.*)>", r"\1", mail)
            if _MAIL.fullmatch(address):
                yield address
            else:
                self._remark(receiver, f"cannot take over the mail address {mail[:80]!r}")

    def _email_channel(self, entry: Mapping[str, Any]) -> None:
        if "email" in self.channels:
            return
        settings = self._file.settings
        host, _, port = str(entry.get("smarthost") or settings.get("smtp_smarthost") or "").rpartition(":")
        user = str(entry.get("auth_username") or settings.get("smtp_auth_username") or "")
        sender = re.sub(r".*<(.*)>", r"\1", str(entry.get("from") or settings.get("smtp_from") or ""))
        channel: dict[str, Any] = {
            "host": host or "smtp.example.com",
            "port": int(port) if port.isdigit() and 0 < int(port) < 1 << 16 else 587,
            "from": sender if _MAIL.fullmatch(sender) else "alerts@example.com",
        }
        channel |= _encryption(channel["port"], entry.get("require_tls", settings.get("smtp_require_tls")))
        if channel.get("tls") == "none" and user and host not in _LOCAL:
            del channel["tls"]  # no password in plain text; Alertmanager's own library sends none either
        if not host or channel["from"] != sender:
            self.to_fill.append(
                "channels.email: host and from (alertmanager.yml has no global.smtp_smarthost, smtp_from)"
            )
        if user:
            own = self._holder(entry, "auth_password", "smtp_")
            channel |= {"username": user, "password_file": self._secret(own, "auth_password", "smtp-password")}
        self.channels["email"] = channel

    def _slack(self, receiver: Integrations, entry: Mapping[str, Any]) -> str:
        channel = str(entry.get("channel") or "").strip()
        if not channel or "{{" in channel or channel.startswith("@"):
            self._remark(receiver, f"cannot take over the Slack channel {channel[:80]!r}; set `slack` of its team")
            return ""
        name = channel if re.fullmatch(r"[#CG].+", channel) else f"#{channel}"
        slack = self.channels.setdefault("slack", {})
        app = self._holder(entry, "app_token", "slack_")
        if app.get("app_token") or app.get("app_token_file"):
            slack.setdefault("token_file", self._secret(app, "app_token", "slack-bot-token"))
        elif name not in slack.get("webhooks", {}):
            file = self._secret(self._holder(entry, "api_url", "slack_"), "api_url", f"slack-{_plain(name)}")
            webhooks = slack.setdefault("webhooks", {})
            if {"url_file": file} in webhooks.values():
                text = f"{name} has the incoming webhook of another channel; today's post to one only: use a bot token"
                self._remark(receiver, text)
            webhooks[name] = {"url_file": file}
        return name

    def _holder(self, entry: Mapping[str, Any], key: str, prefix: str) -> Mapping[str, Any]:
        """Give what holds a secret: the entry itself if it does, else what `global` says."""
        if entry.get(key) or entry.get(f"{key}_file"):
            return entry
        return {name.removeprefix(prefix): value for name, value in self._file.settings.items()}

    def _pagerduty(self, receiver: Integrations, entry: Mapping[str, Any]) -> bool:
        if entry.get("service_key") or entry.get("service_key_file"):
            self._remark(
                receiver, "service_key is of PagerDuty's Events API v1; make an integration of v2 in its place"
            )
            return False
        file = self._secret(entry, "routing_key", f"pagerduty-{_plain(receiver.name)}")
        self.channels.setdefault("pagerduty", {"services": {}})["services"][receiver.name] = {"routing_key_file": file}
        return True

    def _secret(self, entry: Mapping[str, Any], key: str, name: str) -> str:
        """Give the file of a secret: Alertmanager's own, or one that is to be filled."""
        own = entry.get(f"{key}_file")
        if own:
            return str(self._folder / str(own))
        self.to_fill.append(f"secrets/{name}: the {key} that stands in alertmanager.yml")
        return f"secrets/{name}"


def _plain(name: str) -> str:
    """Make a file's name of it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "x"
