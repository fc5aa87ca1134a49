"""Providers of OpenID Connect: oidc-provider-mock with the PKCE check that it lacks, and one that says what it is told.

RFC 7636, 4.6: the verifier of the token request must hash to the challenge of the authorization request.
"""

import base64
import hashlib
import io
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import authlib.deprecate
import werkzeug.serving
from aiohttp import web
from joserfc import jwk, jwt

with warnings.catch_warnings():  # it has a module of Authlib that Authlib would rather not have
    warnings.simplefilter("ignore", authlib.deprecate.AuthlibDeprecationWarning)
    import oidc_provider_mock
    from oidc_provider_mock import User

__all__ = ["PkceCheck", "ToldProvider", "User", "oidc_mock"]

Start = Callable[..., Any]


class PkceCheck:
    """Remembers each code's challenge, and refuses a token request whose verifier does not fit."""

    def __init__(self, app: Callable[[dict[str, Any], Start], Iterable[bytes]]) -> None:
        self._app, self._challenges = app, dict[str, str]()
        self.checked = 0

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        if environ["PATH_INFO"] == "/oauth2/token":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if self._challenges.get(form.get("code", "")) != challenge:
                start("400 Bad Request", [("Content-Type", "application/json")])
                return [b'{"error": "invalid_grant"}']
            self.checked += 1

        def noting(status: str, headers: list[tuple[str, str]], *rest: object) -> object:
            location = dict(headers).get("Location", "")
            code = parse_qs(urlsplit(location).query).get("code", [""])[0]
            if code and query.get("code_challenge_method") == ["S256"]:
                self._challenges[code] = query["code_challenge"][0]
            return start(status, headers, *rest)

        return self._app(environ, noting)


@contextmanager
def oidc_mock(*users: User) -> Iterator[tuple[str, PkceCheck]]:
    """Serve the mock; gives its issuer."""
    app = PkceCheck(oidc_provider_mock.app(require_nonce=True, user_claims=users))
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class ToldProvider:
    """Answers as it is told: ``claims`` go into the token, ``header`` into its header, ``key`` signs it."""

    def __init__(self, now: int) -> None:
        self.key: jwk.ECKey | jwk.OctKey = jwk.ECKey.generate_key("P-256", {"kid": "first"})
        self.published = [self.key]
        self.now, self.claims, self.header = now, dict[str, Any](), {"alg": "ES256", "kid": "first"}
        self.userinfo: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.id_token: str | None = None
        self.requests: list[str] = []
        self.nonce, self.issuer = "", ""

    def application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/.well-known/openid-configuration", self.describe),
                web.get("/jwks", self.keys),
                web.post("/token", self.token),
                web.get("/userinfo", self.more),
            ]
        )
        return app

    async def describe(self, _request: web.Request) -> web.Response:
        self.requests.append("describe")
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        told = {name: f"{self.issuer}/{path}" for name, path in paths.items()}
        return web.json_response({"issuer": self.issuer, **told, **self.metadata})

    async def keys(self, _request: web.Request) -> web.Response:
        self.requests.append("keys")
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.published]})

    async def token(self, _request: web.Request) -> web.Response:
        self.requests.append("token")
        claims = {"iss": self.issuer, "aud": "console", "sub": "1", "iat": self.now, "exp": self.now + 300}
        claims |= {"nonce": self.nonce, "email": "linh@example.com", "email_verified": True, "groups": ["sre"]}
        claims = {name: value for name, value in (claims | self.claims).items() if value is not None}
        text = self.id_token
        if text is None:
            text = jwt.encode(self.header, claims, self.key, algorithms=[self.header["alg"]])
        return web.json_response({"access_token": "a", "token_type": "Bearer", "id_token": text})

    async def more(self, _request: web.Request) -> web.Response:
        self.requests.append("userinfo")
        return web.json_response(self.userinfo)
