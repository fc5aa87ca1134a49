"""What every page of the console says to the browser: run only our script, be framed by nobody, tell nobody the URL."""

from aiohttp import web

# No nonce, no inline script or style, no eval: an alert's text that gets into a page as HTML can do nothing.
POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *(
            "manifest-src 'self'",
            "worker-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ),
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",  # the URL of a message's link is the credential
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def add_headers(response: web.StreamResponse) -> None:
    """Add what the response does not say by itself; call it before it is sent."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
