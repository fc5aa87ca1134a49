"""Signs people in by OpenID Connect: authorization code with PKCE, whose state, nonce and verifier ride in a cookie.

openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth, RFC 9700. Needs the extra `oidc`.
"""

import asyncio
import hmac
import secrets
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from process.settings import Secret
from receiver.config.console import OidcSettings
from receiver.web.access.oidc_flow import OidcError, Pending, Reason

_PATIENCE = 10.0  # seconds for each request to the provider
_FRESH = timedelta(hours=1)  # what the provider says of itself and its keys is read again then
_KEYS_AGAIN = timedelta(minutes=1)  # and the keys at most so often for a key that we do not know: it may be made up
_LEEWAY = 60  # seconds that the provider's clock may differ
_LONGEST = 100_000  # bytes of an answer
_OF_THE_LINE = {"content-encoding", "content-length", "transfer-encoding"}
# Signed by a private key that only the provider has: with HS256 our own secret would do, and "none" needs nothing.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class Provider(msgspec.Struct, frozen=True):
    """What a provider says of itself: openid.net/specs/openid-connect-discovery-1_0.html."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Bounded(httpx2.AsyncBaseTransport):
    """One deadline for an exchange, and a bound on what is read: httpx's own limit is for each read only."""

    def __init__(self, tls: ssl.SSLContext, patience: float) -> None:
        self._inner, self._patience = httpx2.AsyncHTTPTransport(verify=tls), patience

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Exchange; what is packed stays so, for a small answer may become a large one."""
        request.headers["Accept-Encoding"] = "identity"
        try:
            async with asyncio.timeout(self._patience):
                return await self._exchange(request)
        except TimeoutError:
            raise httpx2.ReadTimeout("no answer in time", request=request) from None

    async def _exchange(self, request: httpx2.Request) -> httpx2.Response:
        response, content = await self._inner.handle_async_request(request), bytearray()
        try:
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > _LONGEST:
                    raise httpx2.ReadError(f"the answer has more than {_LONGEST} bytes", request=request)
        finally:
            await response.aclose()
        headers = [(name, value) for name, value in response.headers.items() if name.lower() not in _OF_THE_LINE]
        return httpx2.Response(response.status_code, headers=headers, content=bytes(content), request=request)

    async def aclose(self) -> None:
        """Release connections."""
        await self._inner.aclose()


class Oidc:
    """``begin`` gives where to send the browser, ``finish`` the name and the groups that it comes back with."""

    def __init__(
        self,
        settings: OidcSettings,
        secret: Secret | None,
        redirect_uri: str,
        clock: Callable[[], datetime],
        *,
        patience: float = _PATIENCE,
    ) -> None:
        self._settings, self._secret, self._redirect_uri, self._clock = settings, secret, redirect_uri, clock
        self._patience = patience
        self._tls = ssl.create_default_context()
        self._provider: tuple[datetime, Provider] | None = None
        self._keys: tuple[datetime, jwk.KeySet] | None = None

    @property
    def name(self) -> str:
        """Give the name on the button."""
        return self._settings.name

    async def begin(self, back: str) -> tuple[str, Pending]:
        """Give the provider's page, and what is to be kept; OidcError if the provider does not answer."""
        pending = Pending(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), back)
        async with self._client() as client:
            provider = await self._read_provider(client)
            url, _ = client.create_authorization_url(
                provider.authorization_endpoint,
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
            )
        return str(url), pending

    async def finish(self, query: Mapping[str, str], pending: Pending | None) -> tuple[str, tuple[str, ...]]:
        """Read what the provider sent the browser back with; OidcError if it proves nobody."""
        if pending is None or not hmac.compare_digest(query.get("state", "").encode(), pending.state.encode()):
            raise OidcError(Reason.STALE, "the answer is not to a sign-in of this browser")
        # First of all: fetch_token without a code would ask for something else (client_credentials).
        if "error" in query:
            raise OidcError(Reason.DENIED, f"the provider answers {_word(query['error'])}")
        if query.get("iss", self._settings.issuer) != self._settings.issuer:  # RFC 9207
            raise OidcError(Reason.INVALID, "the answer is of another provider")
        async with self._client() as client:
            provider = await self._read_provider(client)
            token = await self._token(client, provider, query.get("code", ""), pending)
            claims = await self._verified(client, provider, str(token.get("id_token", "")), pending)
            if not {self._settings.person_claim, self._settings.groups_claim} <= claims.keys():
                claims = await self._more(client, provider, claims)
        return self._named(claims)

    async def _token(
        self, client: AsyncOAuth2Client, provider: Provider, code: str, pending: Pending
    ) -> Mapping[str, Any]:
        methods = provider.token_endpoint_auth_methods_supported
        if self._secret is not None and "client_secret_basic" not in methods and "client_secret_post" in methods:
            client.token_endpoint_auth_method = "client_secret_post"  # noqa: S105  # the name of a method
        try:
            token: Mapping[str, Any] = await client.fetch_token(
                provider.token_endpoint, grant_type="authorization_code", code=code, code_verifier=pending.verifier
            )
        except OAuthError as error:
            raise OidcError(Reason.PROVIDER, f"it gives no token: {_word(str(error.error))}") from error
        except (httpx2.HTTPError, ValueError) as error:
            raise OidcError(Reason.PROVIDER, f"it gives no token: {type(error).__name__}") from error
        return token

    async def _verified(
        self, client: AsyncOAuth2Client, provider: Provider, text: str, pending: Pending
    ) -> dict[str, Any]:
        if not pending.nonce:  # a registry without the value would take any
            raise OidcError(Reason.INVALID, "no nonce was kept")
        rules = jwt.JWTClaimsRegistry(
            now=int(self._clock().timestamp()),
            leeway=_LEEWAY,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": self._settings.client_id},
            sub={"essential": True},
            exp={"essential": True},
            nonce={"essential": True, "value": pending.nonce},
        )
        try:
            token = await self._decoded(client, provider, text)
            rules.validate(token.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise OidcError(Reason.INVALID, f"the id_token is refused: {type(error).__name__}") from error
        claims: dict[str, Any] = token.claims
        many = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if many else self._settings.client_id) != self._settings.client_id:
            raise OidcError(Reason.INVALID, "the id_token is for another client")
        return claims

    async def _decoded(self, client: AsyncOAuth2Client, provider: Provider, text: str) -> jwt.Token:
        """Check the signature, by the keys of now if the provider may have changed them."""
        try:
            return jwt.decode(text, await self._read_keys(client, provider, _FRESH), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            keys = await self._read_keys(client, provider, _KEYS_AGAIN)
            return jwt.decode(text, keys, algorithms=_ALGORITHMS)

    async def _more(self, client: AsyncOAuth2Client, provider: Provider, claims: dict[str, Any]) -> dict[str, Any]:
        """Ask for claims that are not in the token; they count only if they are of the same subject."""
        if not provider.userinfo_endpoint:
            return claims
        more = await self._json(client, provider.userinfo_endpoint, withhold_token=False)
        if more.get("sub") != claims["sub"]:
            raise OidcError(Reason.INVALID, "the userinfo is of somebody else")
        return {**more, **claims}

    def _named(self, claims: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        claim = self._settings.person_claim
        name, groups = claims.get(claim), claims.get(self._settings.groups_claim, [])
        if not isinstance(name, str) or not name.strip():
            raise OidcError(Reason.UNNAMED, f"it gives no claim {claim!r}")
        if claim == "email" and self._settings.require_verified_email and claims.get("email_verified") is not True:
            raise OidcError(Reason.UNNAMED, "the email is not verified (require_verified_email)")
        listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return name.strip(), tuple(group for group in listed if isinstance(group, str))

    def _client(self) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            client_id=self._settings.client_id,
            client_secret=self._secret.reveal() if self._secret else None,
            scope=" ".join(self._settings.scopes),
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            timeout=self._patience,
            verify=self._tls,
            transport=_Bounded(self._tls, self._patience),
        )

    async def _read_provider(self, client: AsyncOAuth2Client) -> Provider:
        now, issuer = self._clock(), self._settings.issuer
        if self._provider is not None and timedelta(0) <= now - self._provider[0] < _FRESH:
            return self._provider[1]
        content = await self._json(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            provider = msgspec.convert(content, Provider)
        except msgspec.ValidationError as error:
            raise OidcError(Reason.PROVIDER, f"its openid-configuration is not one: {error}") from error
        if provider.issuer != issuer:
            raise OidcError(Reason.PROVIDER, f"it calls itself {_word(provider.issuer)}; set that as the issuer")
        endpoints = (provider.authorization_endpoint, provider.token_endpoint, provider.jwks_uri)
        if issuer.startswith("https:") and any(urlsplit(one).scheme != "https" for one in endpoints):
            raise OidcError(Reason.PROVIDER, "one of its endpoints is not https")
        self._provider = now, provider
        return provider

    async def _read_keys(self, client: AsyncOAuth2Client, provider: Provider, fresh: timedelta) -> jwk.KeySet:
        now = self._clock()
        if self._keys is not None and timedelta(0) <= now - self._keys[0] < fresh:
            return self._keys[1]
        content: Any = await self._json(client, provider.jwks_uri)
        try:
            keys = jwk.KeySet.import_key_set(content)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise OidcError(Reason.PROVIDER, "its keys cannot be read") from error
        self._keys = now, keys
        return keys

    async def _json(self, client: AsyncOAuth2Client, url: str, *, withhold_token: bool = True) -> dict[str, Any]:
        try:
            answer = await client.request("GET", url, withhold_token=withhold_token)
            answer.raise_for_status()
            content = answer.json()
        except (httpx2.HTTPError, OAuthError, ValueError) as error:
            raise OidcError(Reason.PROVIDER, f"{url} cannot be read: {type(error).__name__}") from error
        if not isinstance(content, dict):
            raise OidcError(Reason.PROVIDER, f"{url} is not a JSON object")
        return content


def _word(text: str) -> str:
    """Give what a log may hold of a text that anybody may have put into a URL."""
    return repr(text[:100])


def build(settings: OidcSettings, secret: Secret | None, redirect_uri: str, clock: Callable[[], datetime]) -> Oidc:
    """Make it; see ``process.optional``, which loads this module."""
    return Oidc(settings, secret, redirect_uri, clock)
