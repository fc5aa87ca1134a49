"""Starts the Sentry SDK so that it reports errors and collects nothing else; needs the extra `sentry`."""

from collections.abc import Callable
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.utils import BadDsn

from process.version import VERSION

# What the SDK may collect by itself: its defaults change with its releases, so each is named.
_OFF = {"mode": "off"}
_NOTHING: dict[str, Any] = {
    "user_info": False,
    "cookies": _OFF,
    "http_headers": {"request": _OFF},
    "http_bodies": [],
    "url_query_params": _OFF,
    "graphql": {"document": False, "variables": False},
    "gen_ai": {"inputs": False, "outputs": False},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": False,
}

BeforeSend = Callable[[dict[str, Any], object], dict[str, Any]]


def init(dsn: str, process: str, environment: str, before_send: BeforeSend) -> None:
    """Begin to report, each event as ``before_send`` leaves it; ValueError if ``dsn`` is not one."""
    options: dict[str, Any] = {
        "release": f"heypeter-monitoring@{VERSION}",
        "environment": environment,
        "server_name": process,
        "before_send": before_send,
        # Named one by one: those that come by themselves patch aiohttp and attach whole requests.
        "default_integrations": False,
        "auto_enabling_integrations": False,
        # Logged errors, uncaught ones, those of threads; each once, and sent before the process ends.
        "integrations": [
            LoggingIntegration(level=None, sentry_logs_level=None),
            ExcepthookIntegration(),
            ThreadingIntegration(propagate_scope=False),
            DedupeIntegration(),
            AtexitIntegration(callback=lambda _pending, _timeout: None),
        ],
        "data_collection": _NOTHING,
        "max_request_body_size": "never",
        "max_breadcrumbs": 0,
        "auto_session_tracking": False,
        "trace_propagation_targets": [],
        "enable_metrics": False,
        "spotlight": False,
        "debug": False,
    }
    try:
        sentry_sdk.init(dsn=dsn, **options)
    except BadDsn as error:
        raise ValueError(str(error)) from error
