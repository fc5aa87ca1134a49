"""Builds the ways in that receiver.yml sets up: Slack's buttons, PagerDuty's webhooks and the reading back from it."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from process.settings import Secret, Source, read_secret
from receiver.actions.answer import Answers
from receiver.config.channels import Channels
from receiver.policy.current import Live
from receiver.store.base import Store
from receiver.web.pagerduty_webhook import PagerDutyAnswers
from receiver.web.slack_actions import SlackAnswers
from receiver.workers.pagerduty_poll import PagerDutyPoll


class Inbound(NamedTuple):
    """Endpoints, loops, and what to call at the end."""

    routes: list[web.RouteDef]
    loops: list[Coroutine[Any, Any, None]]
    closing: list[Callable[[], None]]


def build(  # the composition root hands over every collaborator
    given: Channels,
    source: Source,
    answers: Answers,
    store: Store,
    live: Live,
    session: aiohttp.ClientSession,
    secrets: list[Secret],
) -> Inbound:
    """Build what has a secret; SettingsError if one cannot be read."""
    built = Inbound([], [], [])
    if given.slack and given.slack.interactive:
        at = ".channels.slack.signing_secret"
        signing = read_secret(source, at, given.slack.signing_secret, given.slack.signing_secret_file)
        if signing:
            secrets.append(signing)
            built.routes.extend(SlackAnswers(answers, signing, lambda: slack_ids(live), session).routes())
    if given.pagerduty:
        at, settings = ".channels.pagerduty", given.pagerduty
        shared = read_secret(source, f"{at}.webhook_secret", settings.webhook_secret, settings.webhook_secret_file)
        if shared:
            secrets.append(shared)
            built.routes.extend(PagerDutyAnswers(answers, shared).routes())
        token = read_secret(source, f"{at}.api_token", settings.api_token, settings.api_token_file)
        if token:
            secrets.append(token)
            poll = PagerDutyPoll(answers, store, token, settings.api_url, region=settings.region)
            built.loops.append(poll.run())
            built.closing.append(poll.close)
    return built


def slack_ids(live: Live) -> dict[str, str]:
    """Give people's names by their Slack id."""
    people = live.routing.people.values()
    return {way.address: person.name for person in people for way in person.contacts if way.channel == "slack"}
