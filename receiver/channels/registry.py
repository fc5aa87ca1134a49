"""Lists the channels, one line each; docs/channels.md says how to add one."""

from typing import Any, NamedTuple

from process.optional import load
from receiver.channels import email, log, pagerduty, slack, twilio, webhook
from receiver.channels.declaration import Declaration


class Optional(NamedTuple):
    """A channel whose module needs the package of an extra; it is imported when the settings file names it."""

    module: str
    extra: str


# By the key below `channels`, in the order in which somebody is told.
CHANNELS: dict[str, Declaration[Any] | Optional] = {
    "pagerduty": pagerduty.CHANNEL,
    "slack": slack.CHANNEL,
    "email": email.CHANNEL,
    "sms": twilio.SMS,
    "call": twilio.CALL,
    "push": Optional("receiver.channels.push", "push"),
    "apprise": Optional("receiver.channels.apprise", "apprise"),
    "webhook": webhook.CHANNEL,
    "log": log.CHANNEL,
}


def declaration(name: str) -> Declaration[Any]:
    """Give what a channel declares; MissingExtraError if its package is not installed, KeyError if there is none."""
    entry = CHANNELS[name]
    if isinstance(entry, Declaration):
        return entry
    channel = load(entry.module, entry.extra).CHANNEL
    if not isinstance(channel, Declaration):
        raise TypeError(f"{entry.module}.CHANNEL is not a Declaration")
    return channel
