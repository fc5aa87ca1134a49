"""Asks a source's API for everything, page by page, with one kind of error; keeps the answers in a folder. I/O."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import aiohttp
import msgspec

from process.findings import reason
from receiver.clients.http_api import LARGEST
from receiver.importing.draft import ImportFailedError, one_line

T = TypeVar("T")

Answers = dict[str, object]  # by the name of the resource


class Taken(msgspec.Struct, frozen=True):
    """What was read, when, and for how many days from then on the source has rendered its schedules."""

    answers: Answers
    at: datetime
    days: int


Json = dict[str, object]

ABOUT = "about"  # the file that says what the others are
_SECONDS = 60.0  # one request
_TRIES = 6
_LONGEST_WAIT = 120.0  # seconds that an API may ask us to wait
_MOST_PAGES = 2_000
_YEARS = (2000, 2500)  # within which answers can have been read
_REFUSED = {401: "refuses the token", 403: "does not let this token read", 404: "does not know"}
_BROKEN_OFF = 0  # instead of a status
_TRY_AGAIN = frozenset({_BROKEN_OFF, 429, 500, 502, 503, 504})
_AT_ONCE = 4  # requests: thousands of users have lists of their own, and APIs limit the rate


class Api:
    """One source: its address and what each request carries. No credential is ever part of an error."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        name: str,
        base: str,
        headers: Mapping[str, str],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._session, self._name, self._base = session, name, base.rstrip("/")
        self._headers, self._sleep, self._say = dict(headers), sleep, say

    async def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Json:
        """Give one answer. Raises ImportFailedError."""
        return await self._ask("GET", path, parameters, None)

    async def post(self, path: str, body: object) -> Json:
        """Give the answer to a JSON body. Raises ImportFailedError."""
        return await self._ask("POST", path, None, body)

    async def pages(
        self,
        path: str,
        parameters: Mapping[str, str],
        *,
        items: str,
        following: Callable[[Json, int], Mapping[str, str] | None],
    ) -> list[object]:
        """Give the items of all pages; ``following`` gives the parameters of the next page after an answer."""
        found: list[object] = []
        asked: Mapping[str, str] | None = parameters
        before = set[frozenset[tuple[str, str]]]()
        for _ in range(_MOST_PAGES):
            answer = await self.get(path, asked)
            part = answer.get(items)
            if not isinstance(part, list):
                raise ImportFailedError(f"{self._name} answered to {path} without a list of {items!r}")
            found += part
            asked = following(answer, len(found))
            if asked is None:
                return found
            before.add(frozenset(parameters.items()))
            if frozenset(asked.items()) in before:
                raise ImportFailedError(f"{self._name} answered to {path} with the same page again")
            parameters = asked
        raise ImportFailedError(f"{self._name} has more than {_MOST_PAGES} pages of {path}")

    def quoted(self, text: str) -> str:
        """Give what a source says as one line, without the credential that it may repeat."""
        for value in self._headers.values():
            text = text.replace(value.rpartition(" ")[2].rpartition("=")[2], "<secret>")
        return one_line(text)

    async def each(self, ids: Iterable[str], ask: Callable[[str], Awaitable[object]]) -> dict[str, object]:
        """Ask for each of the ids, a few at once; give the answers by id, in their order. Raises ImportFailedError."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(identity: str) -> object:
            async with gate:
                return await ask(identity)

        try:
            async with asyncio.TaskGroup() as group:
                asked = {identity: group.create_task(one(identity)) for identity in ids}
        except ExceptionGroup as several:
            raise several.exceptions[0] from several
        return {identity: task.result() for identity, task in asked.items()}

    async def _ask(self, method: str, path: str, parameters: Mapping[str, str] | None, body: object) -> Json:
        for attempt in range(_TRIES):
            status, wait, text = await self._once(method, path, parameters, body)
            if status not in _TRY_AGAIN or attempt == _TRIES - 1:
                break
            pause = min(_LONGEST_WAIT, wait if wait is not None else 2.0**attempt)
            what = f"answered {status}" if status != _BROKEN_OFF else "broke off its answer"
            self._say(f"{self._name} {what}: waiting {pause:g} s")
            await self._sleep(pause)
        if status == _BROKEN_OFF:
            raise ImportFailedError(f"{self._name} breaks off its answer to {path}")
        if status != 200:  # noqa: PLR2004  # OK
            problem = _REFUSED.get(status, "did not give")
            raise ImportFailedError(f"{self._name} {problem} {path} (HTTP {status})")
        try:
            answer = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ImportFailedError(f"{self._name} answered to {path} with cut or invalid JSON") from error
        if not isinstance(answer, dict):
            raise ImportFailedError(f"{self._name} answered to {path} with something else than an object")
        return answer

    async def _once(
        self, method: str, path: str, parameters: Mapping[str, str] | None, body: object
    ) -> tuple[int, float | None, bytes]:
        try:
            async with self._session.request(
                method,
                f"{self._base}/{path.lstrip('/')}",
                headers=self._headers,
                params=parameters,
                json=body,
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
                allow_redirects=False,
            ) as response:
                text = bytearray()
                async for chunk in response.content.iter_chunked(1 << 20):
                    text += chunk
                    if len(text) > LARGEST:
                        raise ImportFailedError(f"{self._name} answered to {path} with more than {LARGEST >> 20} MiB")
                return response.status, _retry_after(response.headers), bytes(text)
        except TimeoutError as error:
            raise ImportFailedError(f"{self._name} did not answer to {path} within {_SECONDS:g} seconds") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionResetError):
            return _BROKEN_OFF, None, b""
        except (aiohttp.ClientError, ValueError) as error:  # ValueError: a URL or a header that cannot be sent
            raise ImportFailedError(f"{self._name} cannot be reached: {reason(error)}") from error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After") or headers.get("ratelimit-reset") or ""
    return float(text) if text.isdecimal() and len(text) < 7 else None  # noqa: PLR2004  # seconds; a date is ignored


def identities(listed: object, where: str) -> list[str]:
    """Give the ids of the objects of a list; ImportFailedError if one has none."""
    ids = [one.get("id") if isinstance(one, dict) else None for one in listed] if isinstance(listed, list) else [None]
    if not all(isinstance(one, str | int) for one in ids):
        raise ImportFailedError(f"{where} is not a list of objects with ids")
    return [str(one) for one in ids]


def part(identity: str) -> str:
    """Give an id as one part of a path."""
    return quote(identity, safe="")


def next_link(answer: Json, _count: int) -> Mapping[str, str] | None:
    """Follow the query of `next`, never its host: a proxy may have another one."""
    paging = answer.get("paging")
    link = paging.get("next") if isinstance(paging, dict) else answer.get("next")
    return dict(parse_qsl(urlsplit(link).query)) if isinstance(link, str) and link else None


def decoded(answers: Answers, kind: type[T], source: str) -> T:
    """Turn what was read into records; ImportFailedError names what is not as it should be."""
    try:
        return msgspec.convert(_without_nulls(answers), kind, strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ImportFailedError(f"{source}: not as expected: {error}") from error


def _without_nulls(value: object) -> object:
    """Leave out keys without a value: whether an API gives null or nothing means the same."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value if inner is not None]
    return value


def save(folder: Path, source: str, taken: Taken) -> None:
    """Write one file for each resource; ImportFailedError if that is not possible."""
    about: Answers = {ABOUT: {"source": source, "taken_at": taken.at.isoformat(), "days": taken.days}}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, answer in (taken.answers | about).items():
            path = folder / f"{name}.json"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds addresses of people
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(answer), indent=1))
    except OSError as error:
        raise ImportFailedError(f"cannot write {folder}: {error.strerror}") from error


def saved(folder: Path, source: str, items: str, names: frozenset[str], default: Taken) -> Taken:
    """Read what ``save`` wrote, or answers that were saved by hand: a list, or a page with ``items``.

    When they were taken and for how many days is as in ``default``, if no file says it.
    """
    if not folder.is_dir():
        raise ImportFailedError(f"{folder} is no folder of saved answers")
    answers, at, days = Answers(), default.at, default.days
    for path in sorted(folder.glob("*.json")):
        answer = _read(path)
        if path.stem == ABOUT and isinstance(answer, dict):
            if answer.get("source") != source:
                raise ImportFailedError(f"{path}: saved from {answer.get('source')!r}, not from {source!r}")
            at, days = _taken(path, answer.get("taken_at")), _days(answer.get("days"), days)
        elif path.stem in names:
            answers[path.stem] = _items(path, answer, items or path.stem)
    if not answers:
        raise ImportFailedError(f"{folder} has none of the files {', '.join(f'{name}.json' for name in sorted(names))}")
    return Taken(answers, at, days)


def _days(value: object, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default


def _read(path: Path) -> object:
    try:
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ImportFailedError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ImportFailedError(f"{path}: cut or invalid JSON") from error


def _taken(path: Path, text: object) -> datetime:
    try:
        taken = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise ImportFailedError(f"{path}: invalid taken_at {text!r}") from error
    if not _YEARS[0] <= taken.year < _YEARS[1]:  # years are added to it
        raise ImportFailedError(f"{path}: invalid taken_at {text!r}")
    return taken if taken.tzinfo else taken.replace(tzinfo=UTC)


def _items(path: Path, answer: object, items: str) -> object:
    if not isinstance(answer, dict) or items not in answer:
        return answer
    page = answer.get("pageInfo")
    has_next = isinstance(page, dict) and page.get("hasNextPage")
    if next_link(answer, 0) is not None or answer.get("more") or has_next:
        raise ImportFailedError(f"{path}: only the first page of several; save all of them")
    return answer[items]
