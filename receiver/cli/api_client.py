"""Asks a running receiver for the commands that act: its URL, a token from a file, and what was lost once more."""

import argparse
import asyncio
import getpass
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from process.addresses import own_url
from process.findings import reason
from process.settings import Secret, SettingsError, require_secret
from receiver.config.load import load

T = TypeVar("T")
Answer = dict[str, Any]

_PATIENCE = aiohttp.ClientTimeout(total=15)
_LARGEST = 16 * 1024 * 1024  # bytes of an answer
_TRIES = 3
_OK = 300  # and above: it was not done
_AWAY = 503


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe how the receiver is found, and who asks."""
    parser.add_argument("--receiver.url", dest="receiver", help="the receiver's URL; $RECEIVER_URL otherwise")
    parser.add_argument(
        "--token.file", dest="token", type=Path, help="file of an API token; $RECEIVER_TOKEN_FILE otherwise"
    )
    parser.add_argument("--config.file", dest="config", type=Path, help="receiver.yml: take URL and token from there")
    parser.add_argument(
        "--as", dest="actor", default="", help="who acts, if the token is nobody's own (your user name)"
    )


class ApiClient:
    """``get`` and ``post`` give the answer; SettingsError says what the receiver said, or why it cannot be asked."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: Secret, actor: str) -> None:
        self._session, self._url, self.actor = session, url.rstrip("/"), actor
        self._headers = {"Authorization": f"Bearer {token.reveal()}"}

    async def get(self, path: str) -> Answer:
        """Ask for something below /api/v1."""
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: Answer | None = None, *, method: str = "POST") -> Answer:
        """Do something; what is lost on the way is sent again, and done once."""
        return await self._ask(method, path, {"actor": self.actor, **(body or {})})

    async def _ask(self, method: str, path: str, body: Answer | None) -> Answer:
        headers = {**self._headers, **({"Idempotency-Key": secrets.token_hex(16)} if body is not None else {})}
        for left in reversed(range(_TRIES)):
            try:
                status, answer = await self._once(method, path, body, headers)
            except (aiohttp.ClientError, TimeoutError) as error:
                if not left:
                    raise SettingsError(f"the receiver at {self._url} cannot be asked: {reason(error)}") from error
                continue
            if status != _AWAY or not left:
                return _checked(status, answer)
        raise AssertionError

    async def _once(self, method: str, path: str, body: Answer | None, headers: dict[str, str]) -> tuple[int, Answer]:
        url = f"{self._url}/api/v1{path}"
        async with self._session.request(
            method, url, json=body, headers=headers, timeout=_PATIENCE, allow_redirects=False
        ) as answer:
            try:
                read = await answer.json() if (answer.content_length or 0) <= _LARGEST else {}
            except (ValueError, aiohttp.ContentTypeError):
                read = {}
            return answer.status, read if isinstance(read, dict) else {}


def _checked(status: int, answer: Answer) -> Answer:
    if status >= _OK:
        said = answer.get("error")
        raise SettingsError(f"{said}" if said else f"the receiver answered {status}; is --receiver.url right?")
    return answer


def ask(options: argparse.Namespace, question: Callable[[ApiClient], Awaitable[T]]) -> T:
    """Ask a receiver that the command line, the environment or receiver.yml names."""
    url, token = _found(options)

    async def asked() -> T:
        async with aiohttp.ClientSession() as session:
            return await question(ApiClient(session, url, token, options.actor or getpass.getuser()))

    return asyncio.run(asked())


def _found(options: argparse.Namespace) -> tuple[str, Secret]:
    url = options.receiver or os.environ.get("RECEIVER_URL", "")
    file = options.token or (Path(os.environ["RECEIVER_TOKEN_FILE"]) if "RECEIVER_TOKEN_FILE" in os.environ else None)
    config, source = load(options.config) if options.config else (None, None)
    if config is not None:
        url = url or own_url(config.listen)
    if not url.startswith(("http://", "https://")):
        raise SettingsError(
            "name the receiver: --receiver.url https://oncall.example.com, $RECEIVER_URL, --config.file"
        )
    if file is not None:
        return url, token_in(file)
    if config is None or source is None:
        raise SettingsError("name a token: --token.file token, $RECEIVER_TOKEN_FILE or --config.file")
    return url, require_secret(source, ".api.token", config.api.token, config.api.token_file)


def token_in(file: Path) -> Secret:
    """Read a token that the command line names; SettingsError if there is none."""
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--token.file {file}: cannot be read: {reason(error)}") from error
    if not token.isprintable() or not token:
        raise SettingsError(f"--token.file {file}: expected one line with a token")
    return Secret(token)
