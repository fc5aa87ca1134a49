"""How both PagerDuty channels call the SDK: one request a call, in threads, with our own kind of error.

developer.pagerduty.com/docs/events-api-v2/overview. The SDK is synchronous and sleeps inside when it retries, so its
retries are off and it runs in threads of its own.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import httpx2
import pagerduty

from process.settings import Secret
from receiver.channels.base import Failure, Message, SendError
from receiver.channels.http_status import failure

C = TypeVar("C", bound=pagerduty.ApiClient)
V = TypeVar("V")

DEDUP_KEY = 255  # the longest that PagerDuty takes
Region = Literal["us", "eu"]
_HOSTS = {"us": "https://{}.pagerduty.com", "eu": "https://{}.eu.pagerduty.com"}  # support: "Service Regions"


class AlreadySoError(SendError):
    """PagerDuty refused because the incident is already as we want it: an attempt whose answer was lost had arrived."""


class Redirect(httpx2.HTTPTransport):
    """Sends to another address what the SDK addresses to PagerDuty; the SDK itself takes https addresses only."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = httpx2.URL(url)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Exchange the scheme, host and port, and send."""
        request.headers["X-Forwarded-Host"] = request.url.host  # for a proxy that serves both regions
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
            # The SDK's time-out is for each read; a server that drips would never meet it.
            async with asyncio.timeout(self._timeout):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise SendError("PagerDuty did not answer in time", Failure.TIMEOUT) from None
        except pagerduty.Error as error:
            raise _send_error(error) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise SendError(f"PagerDuty: {type(error).__name__}", Failure.NETWORK) from None


def dedup_key(message: Message) -> str:
    """What makes a repeat harmless: the same for every attempt, and for the acknowledge and resolve that follow."""
    return f"{message.incident}/{message.lane}"[:DEDUP_KEY]


def host(region: Region, interface: Literal["events", "api"]) -> str:
    """Give the address of PagerDuty's interface; an account lives in one region, and the other does not know it."""
    return _HOSTS[region].format(interface)


def known(services: dict[str, V], name: str) -> V:
    """Look a service up; SendError if it has gone from the configuration."""
    if name not in services:
        raise SendError(f"no PagerDuty service {name!r} is configured", Failure.BAD_ADDRESS, permanent=True)
    return services[name]


def _send_error(error: pagerduty.Error) -> SendError:
    if error.response is not None:
        return _refused(error.response)
    cause = error.__cause__
    reason = Failure.TIMEOUT if isinstance(cause, httpx2.TimeoutException) else Failure.NETWORK
    return SendError(f"PagerDuty: {type(cause).__name__ if cause else 'network error'}", reason)


def _refused(response: httpx2.Response) -> SendError:
    text = f"PagerDuty answered {response.status_code}"
    # "Open incident with matching dedup key already exists on this service", code 2002, and its likes.
    if response.status_code == httpx2.codes.BAD_REQUEST and "already" in response.text.lower():
        return AlreadySoError(text, Failure.REFUSED, permanent=True)
    wish = response.headers.get("Retry-After") or response.headers.get("ratelimit-reset") or ""
    return failure(text, response.status_code, wish)
