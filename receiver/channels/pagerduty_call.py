"""How both PagerDuty channels call the SDK: one request a call, in threads, with our own kind of error.

developer.pagerduty.com/docs/events-api-v2/overview. The SDK is synchronous and sleeps inside when it retries, so its
retries are off and it runs in threads of its own.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx2
import pagerduty

from process.settings import Secret
from receiver.channels.base import Failure, Message, SendError

C = TypeVar("C", bound=pagerduty.ApiClient)
V = TypeVar("V")

DEDUP_KEY = 255  # the longest that PagerDuty takes


class Redirect(httpx2.HTTPTransport):
    """Sends to another address what the SDK addresses to PagerDuty; the SDK itself takes https addresses only."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = httpx2.URL(url)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Exchange the scheme, host and port, and send."""
        request.url = request.url.copy_with(scheme=self._url.scheme, host=self._url.host, port=self._url.port)
        request.headers["Host"] = request.url.netloc.decode()
        return super().handle_request(request)


class Calls:
    """Runs the SDK's calls in threads and turns its errors into ours."""

    def __init__(self, timeout: float, api_url: str) -> None:
        self._timeout = timeout
        self._arguments: dict[str, Any] = {"transport": Redirect(api_url)} if api_url else {}
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="pagerduty")
        self._clients: list[pagerduty.ApiClient] = []

    def client(self, kind: Callable[..., C], key: Secret, **given: str) -> C:
        """Make a client that sends exactly one request a call."""
        made = kind(key.reveal(), **given, **self._arguments)
        made.retry = {429: 1, 500: 1, 502: 1, 503: 1, 504: 1}
        made.max_http_attempts, made.max_network_attempts = -1, 0
        made.timeout = self._timeout  # type: ignore[assignment]  # the SDK hands it to httpx, which takes floats
        self._clients.append(made)
        return made

    def close(self) -> None:
        """Let go of connections and threads."""
        for client in self._clients:
            client.close()
        self._threads.shutdown(wait=False)

    async def run(self, call: Callable[..., Any], *given: object, **named: object) -> Any:  # noqa: ANN401  # JSON
        """Call; SendError with our words only, for the SDK's may quote what was sent."""
        work = functools.partial(call, *given, **named)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except pagerduty.Error as error:
            raise _send_error(error) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise SendError(f"PagerDuty: {type(error).__name__}", Failure.NETWORK) from None


def dedup_key(message: Message) -> str:
    """What makes a repeat harmless: the same for every attempt, and for the acknowledge and resolve that follow."""
    return f"{message.incident}/{message.lane}"[:DEDUP_KEY]


def known(services: dict[str, V], name: str) -> V:
    """Look a service up; SendError if it has gone from the configuration."""
    if name not in services:
        raise SendError(f"no PagerDuty service {name!r} is configured", Failure.BAD_ADDRESS, permanent=True)
    return services[name]


def _send_error(error: pagerduty.Error) -> SendError:
    if error.response is None:
        cause = error.__cause__
        timeout = isinstance(cause, httpx2.TimeoutException)
        name = type(cause).__name__ if cause else "network error"
        return SendError(f"PagerDuty: {name}", Failure.TIMEOUT if timeout else Failure.NETWORK)
    status = error.response.status_code
    text = f"PagerDuty answered {status}"
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        wish = error.response.headers.get("Retry-After") or error.response.headers.get("ratelimit-reset") or ""
        return SendError(text, Failure.RATE_LIMITED, retry_after=float(wish) if wish.isdigit() else None)
    if status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        return SendError(text, Failure.SERVER_ERROR)
    if status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
        return SendError(f"{text}: check the key", Failure.AUTH, permanent=True)
    if status == httpx2.codes.REQUEST_TIMEOUT:
        return SendError(text, Failure.TIMEOUT)
    return SendError(text, Failure.REFUSED, permanent=True)
