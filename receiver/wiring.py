"""Builds the channels that receiver.yml sets up: the one place where a channel's settings and its class meet."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp

from process.settings import Secret, Source, read_secret
from receiver.channels.apprise import Apprise, Service
from receiver.channels.base import Channel
from receiver.channels.email import Email
from receiver.channels.log import Log
from receiver.channels.pagerduty import PagerDutyEvents
from receiver.channels.pagerduty_rest import PagerDutyRest
from receiver.channels.slack import Slack
from receiver.channels.slack_webhook import SlackWebhooks
from receiver.channels.webhook import Endpoint, Webhook, keys
from receiver.config import channels as channel_settings


class Wired(NamedTuple):
    """The channels by name, and what lets go of their threads and connections."""

    channels: dict[str, Channel]
    closing: list[Callable[[], None]]


def build(
    settings: channel_settings.Channels,
    source: Source,
    session: aiohttp.ClientSession,
    secrets: list[Secret],
    external_url: str = "",
) -> Wired:
    """Build the channels; adds every secret that they hold to ``secrets``. SettingsError names one that is missing."""
    return _Builder(source, session, secrets, external_url).build(settings)


class _Builder:
    def __init__(
        self, source: Source, session: aiohttp.ClientSession, secrets: list[Secret], external_url: str
    ) -> None:
        self._source, self._session, self._secrets, self._url = source, session, secrets, external_url
        self._closing: list[Callable[[], None]] = []

    def build(self, given: channel_settings.Channels) -> Wired:
        """Name each channel; a new one is named here, in channel_settings.py, and nowhere else but in its own file."""
        built = dict[str, Channel]()
        if given.pagerduty:
            built["pagerduty"] = self._pagerduty(given.pagerduty)
        if given.slack:
            built["slack"] = self._slack(given.slack)
        if given.email:
            built["email"] = self._email(given.email)
        if given.apprise:
            built["apprise"] = self._apprise(given.apprise)
        if given.webhook:
            built["webhook"] = self._webhook(given.webhook)
        if channel_settings.uses_log(given):
            built["log"] = Log(sys.stdout, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
        return Wired(built, self._closing)

    def _pagerduty(self, given: channel_settings.PagerDuty) -> Channel:
        at, timeout = ".channels.pagerduty", float(given.timeout)
        channel: PagerDutyEvents | PagerDutyRest
        if given.mode == "rest":
            token = self._secret(f"{at}.api_token", given.api_token, given.api_token_file)
            ids = {name: service.service_id for name, service in given.services.items()}
            url = given.api_url
            channel = PagerDutyRest(ids, token, given.from_, region=given.region, timeout=timeout, api_url=url)
        else:
            routing = {
                name: self._secret(f"{at}.services.{name}.routing_key", service.routing_key, service.routing_key_file)
                for name, service in given.services.items()
            }
            channel = PagerDutyEvents(
                routing, region=given.region, timeout=timeout, api_url=given.api_url, client_url=self._url
            )
        self._closing.append(channel.close)
        return channel

    def _slack(self, given: channel_settings.Slack) -> Channel:
        at, bot = ".channels.slack", None
        token = self._optional(f"{at}.token", given.token, given.token_file)
        if token:
            bot = Slack(
                token,
                self._session,
                timeout=given.timeout,
                api_url=given.api_url,
                interactive=given.interactive,
            )
        urls = {
            name: self._secret(f"{at}.webhooks.{name}.url", hook.url, hook.url_file)
            for name, hook in given.webhooks.items()
        }
        if bot and not urls:
            return bot
        return SlackWebhooks(urls, self._session, timeout=given.timeout, bot=bot)

    def _email(self, given: channel_settings.Email) -> Channel:
        return Email(
            given.host,
            given.port,
            given.from_,
            tls=given.tls,
            username=given.username,
            password=self._optional(".channels.email.password", given.password, given.password_file),
            timeout=given.timeout,
        )

    def _apprise(self, given: channel_settings.Apprise) -> Channel:
        at = ".channels.apprise.services"
        services = {
            name: Service(self._secret(f"{at}.{name}.url", service.url, service.url_file), service.format)
            for name, service in given.services.items()
        }
        try:
            channel = Apprise(services, timeout=given.timeout)
        except ValueError as error:
            fix = "is no URL that Apprise knows; see github.com/caronc/apprise/wiki"
            raise self._source.error(f"{at}.{error}.url", fix) from None
        self._closing.append(channel.close)
        return channel

    def _webhook(self, given: channel_settings.Webhook) -> Channel:
        return Webhook(
            {name: self._endpoint(name, endpoint) for name, endpoint in given.endpoints.items()},
            self._session,
            timeout=given.timeout,
        )

    def _endpoint(self, name: str, given: channel_settings.WebhookEndpoint) -> Endpoint:
        at = f".channels.webhook.endpoints.{name}.secret"
        secret = self._secret(at, given.secret, given.secret_file)
        try:
            return Endpoint(Secret(given.url), keys(secret.reveal()))
        except ValueError as error:
            raise self._source.error(at, str(error)) from None

    def _secret(self, at: str, value: Secret | None, file: Path | None) -> Secret:
        found = self._optional(at, value, file)
        if found is None:
            raise self._source.error(at, f"is missing; give {at.rsplit('.', 1)[-1]} or its *_file twin")
        return found

    def _optional(self, at: str, value: Secret | None, file: Path | None) -> Secret | None:
        found = read_secret(self._source, at, value, file)
        self._secrets += [found] if found else []
        return found
