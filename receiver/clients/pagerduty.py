"""Calls PagerDuty through its SDK: one request a call, in threads, with one kind of error.

developer.pagerduty.com/docs/events-api-v2/overview. The SDK is synchronous and sleeps inside when it retries, so its
retries are off, it runs in threads of its own, and its requests go out on the event loop, which bounds them.
"""

import asyncio
import concurrent.futures
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import aiohttp
import httpx2
import msgspec
import pagerduty
import yarl

from process.settings import Secret
from receiver.incident.model import SOMEBODY

C = TypeVar("C", bound=pagerduty.ApiClient)

Region = Literal["us", "eu"]
_HOSTS = {"us": "https://{}.pagerduty.com", "eu": "https://{}.eu.pagerduty.com"}  # support: "Service Regions"
_PERSON = "user_reference"  # any other agent is an integration (us), a service, or PagerDuty's own timer
_NAME = 100  # characters of a name
_THREADS = 64  # as many as one channel sends at once; each ends with its call's deadline
_SPARE = 1.0  # seconds beyond the deadline until a thread gives the event loop up
_OURS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "content-encoding"}


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
    id: str = ""

    @property
    def person(self) -> str:
        """Their name in at most 100 characters; "" for whatever is not a person."""
        if self.type != _PERSON:
            return ""
        return " ".join(self.summary.split())[:_NAME] or SOMEBODY


class Bridge(httpx2.BaseTransport):
    """Carries out the SDK's requests on the event loop's session: one deadline for an exchange, and a bounded answer.

    The SDK's own transport has a time limit for each read only, so that an answer that drips would hold its thread for
    hours, and reads whatever comes. ``api_url`` replaces PagerDuty's own address; the SDK itself takes https only.
    """

    def __init__(self, session: aiohttp.ClientSession, timeout: float, api_url: str) -> None:
        self._session, self._timeout = session, timeout
        self._url = httpx2.URL(api_url) if api_url else None
        self.loop: asyncio.AbstractEventLoop | None = None  # set before the first call

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send from the SDK's thread, and wait for the answer."""
        if self.loop is None or self.loop.is_closed():
            raise httpx2.ConnectError("no event loop")
        body = request.read()
        future = asyncio.run_coroutine_threadsafe(self._exchange(request, body), self.loop)
        try:
            return future.result(self._timeout + _SPARE)
        except (TimeoutError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            raise httpx2.ReadTimeout("no answer in time", request=request) from None

    async def _exchange(self, request: httpx2.Request, body: bytes) -> httpx2.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OURS}
        url = request.url
        if self._url is not None:
            headers["X-Forwarded-Host"] = url.host  # for a proxy that serves both regions
            url = url.copy_with(scheme=self._url.scheme, host=self._url.host, port=self._url.port)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.request(
                    request.method,
                    yarl.URL(str(url), encoded=True),
                    headers={**headers, "Accept-Encoding": "identity"},
                    data=body or None,
                    allow_redirects=False,
                ) as response,
            ):
                content = await response.read()
                kept_headers = [(name, value) for name, value in response.headers.items() if name.lower() not in _OURS]
                return httpx2.Response(
                    response.status, headers=kept_headers, stream=httpx2.ByteStream(content), request=request
                )
        except (aiohttp.ClientError, ValueError) as error:
            raise httpx2.ConnectError(type(error).__name__, request=request) from None


class PagerDutyCalls:
    """Runs the SDK's calls in threads and turns its errors into PagerDutyError."""

    def __init__(self, session: aiohttp.ClientSession, timeout: float, api_url: str) -> None:
        self._timeout, self._bridge = timeout, Bridge(session, timeout, api_url)
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="pagerduty")
        self._clients: list[pagerduty.ApiClient] = []

    def client(self, kind: Callable[..., C], key: Secret, **options: str) -> C:
        """Make a client that sends exactly one request a call."""
        client = kind(key.reveal(), **options, transport=self._bridge)
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
        self._bridge.loop = asyncio.get_running_loop()
        try:
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
