"""Calls PagerDuty through its SDK: one request a call, in threads, with one kind of error.

developer.pagerduty.com/docs/events-api-v2/overview. The SDK is synchronous and sleeps inside when it retries, so its
retries are off and it runs in threads of its own.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import httpx2
import msgspec
import pagerduty

from process.settings import Secret
from receiver.incident.model import SOMEBODY

C = TypeVar("C", bound=pagerduty.ApiClient)

Region = Literal["us", "eu"]
_HOSTS = {"us": "https://{}.pagerduty.com", "eu": "https://{}.eu.pagerduty.com"}  # support: "Service Regions"
_PERSON = "user_reference"  # any other agent is an integration (us), a service, or PagerDuty's own timer
_NAME = 100  # characters of a name


class PagerDutyError(Exception):
    """One call failed. The text is ours: the SDK's may quote what was sent.

    ``status`` is 0 when no answer came, and then ``timed_out`` says why. ``already``: PagerDuty refused because the
    incident is as we want it, so an earlier attempt whose answer was lost had arrived.
    """

    def __init__(
        self, message: str, *, status: int = 0, timed_out: bool = False, retry_after: str = "", already: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.timed_out, self.retry_after, self.already = status, timed_out, retry_after, already


class Agent(msgspec.Struct, frozen=True):
    """Who did something at PagerDuty, as its webhooks and its REST API name them."""

    type: str = ""
    summary: str = ""

    @property
    def person(self) -> str:
        """Their name in at most 100 characters; "" for whatever is not a person."""
        if self.type != _PERSON:
            return ""
        return " ".join(self.summary.split())[:_NAME] or SOMEBODY


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


class PagerDutyCalls:
    """Runs the SDK's calls in threads and turns its errors into PagerDutyError."""

    def __init__(self, timeout: float, api_url: str) -> None:
        self._timeout = timeout
        self._arguments: dict[str, Any] = {"transport": Redirect(api_url)} if api_url else {}
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="pagerduty")
        self._clients: list[pagerduty.ApiClient] = []

    def client(self, kind: Callable[..., C], key: Secret, **options: str) -> C:
        """Make a client that sends exactly one request a call."""
        client = kind(key.reveal(), **options, **self._arguments)
        client.retry = {429: 1, 500: 1, 502: 1, 503: 1, 504: 1}
        client.max_http_attempts, client.max_network_attempts = -1, 0
        client.timeout = self._timeout  # type: ignore[assignment]  # the SDK hands it to httpx, which takes floats
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Release connections and threads."""
        for client in self._clients:
            client.close()
        self._threads.shutdown(wait=False)

    async def run(self, call: Callable[..., Any], *arguments: object, **options: object) -> Any:  # noqa: ANN401  # JSON
        """Call once; PagerDutyError if it failed or took longer than the timeout."""
        work = functools.partial(call, *arguments, **options)
        try:
            # The SDK's time-out is for each read; a server that drips would never meet it.
            async with asyncio.timeout(self._timeout):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise PagerDutyError("PagerDuty did not answer in time", timed_out=True) from None
        except pagerduty.Error as error:
            raise _error(error) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise PagerDutyError(f"PagerDuty: {type(error).__name__}") from None


def base_url(region: Region, interface: Literal["events", "api"]) -> str:
    """Give the address of PagerDuty's interface; an account lives in one region, and the other does not know it."""
    return _HOSTS[region].format(interface)


def _error(error: pagerduty.Error) -> PagerDutyError:
    if error.response is not None:
        return _status_error(error.response)
    cause = error.__cause__
    text = f"PagerDuty: {type(cause).__name__ if cause else 'network error'}"
    return PagerDutyError(text, timed_out=isinstance(cause, httpx2.TimeoutException))


def _status_error(response: httpx2.Response) -> PagerDutyError:
    return PagerDutyError(
        f"PagerDuty answered {response.status_code}",
        status=response.status_code,
        retry_after=response.headers.get("Retry-After") or response.headers.get("ratelimit-reset") or "",
        # "Open incident with matching dedup key already exists on this service", code 2002, and its likes.
        already=response.status_code == httpx2.codes.BAD_REQUEST and "already" in response.text.lower(),
    )
