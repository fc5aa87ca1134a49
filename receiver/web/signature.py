"""Checks the signatures of what Slack and PagerDuty send us. Pure.

docs.slack.dev/authentication/verifying-requests-from-slack; developer.pagerduty.com/docs/webhooks/webhook-signatures.
"""

import hashlib
import hmac
from datetime import datetime

OLDEST = 300.0  # seconds; Slack's own advice against replays


def slack(secret: str, timestamp: str, body: bytes, given: str, now: datetime) -> bool:
    """Say whether Slack signed this, and did so a short time ago."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):  # noqa: PLR2004  # seconds
        return False
    if abs(now.timestamp() - int(timestamp)) > OLDEST:
        return False
    base = b"v0:" + timestamp.encode() + b":" + body
    wanted = "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))


def pagerduty(secret: str, body: bytes, given: str) -> bool:
    """Say whether PagerDuty signed this; it lists several signatures while a secret is being exchanged."""
    wanted = "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    listed = [one.strip().encode("utf-8", "replace") for one in given.split(",")[:10]]
    return any([hmac.compare_digest(wanted.encode(), one) for one in listed])  # noqa: C419  # all, in constant time
