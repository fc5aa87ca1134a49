"""Says what an HTTP status means for sending again: the one table of all channels that speak HTTP. Pure."""

import re
from http import HTTPStatus

from receiver.channels.base import Failure, SendError


def failure(text: str, status: int, wish: str = "") -> SendError:
    """Make the error for a status that is no success; ``wish`` is the provider's Retry-After.

    A 2xx comes here only when the answer is not the provider's own: a proxy's page proves nothing, so try again.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return SendError(text, Failure.RATE_LIMITED, retry_after=seconds(wish))
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return SendError(text, Failure.TIMEOUT)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status < HTTPStatus.MULTIPLE_CHOICES:
        return SendError(text, Failure.SERVER_ERROR)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return SendError(f"{text}: check the key", Failure.AUTH, permanent=True)
    return SendError(text, Failure.REFUSED, permanent=True)


def seconds(wish: str) -> float | None:
    """Read a Retry-After; what is no plain number of seconds is not followed."""
    return float(wish) if re.fullmatch(r"[0-9]{1,5}", wish) else None
