"""Tells bots from people and detects the kind of device, from a request's headers. Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache

# Sentry Relay's list (relay-filter/src/web_crawlers.rs), and tools that load pages to measure or to render them.
_BOT = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|mediapartners|facebookexternalhit|ia_archiver|yandex|baidu|bingpreview|"
    r"google-structured|google-inspectiontool|apis-google|duplexweb|feedfetcher|headlesschrome|phantomjs|lighthouse|"
    r"pagespeed|ptst/|gtmetrix|pingdom|uptimerobot|statuscake|site24x7|datadogsynthetics|checkly|prerender|"
    r"curl/|wget/|python-requests|aiohttp/|go-http-client|java/|okhttp|axios/|node-fetch|scrapy|httpclient",
    re.IGNORECASE,
)
_TABLET = re.compile(r"ipad|tablet|kindle|silk/|playbook|android(?!.*mobile)", re.IGNORECASE)
_MOBILE = re.compile(r"mobi|iphone|ipod|windows phone|opera mini", re.IGNORECASE)

_MAX_LENGTH = 300


def is_bot(user_agent: str) -> bool:
    """Whether a User-Agent is a bot's; an empty one is not a browser's."""
    return _classify(user_agent[:_MAX_LENGTH])[0]


def device(headers: Mapping[str, str]) -> str:
    """Return desktop, mobile or tablet; nothing else of the User-Agent is kept."""
    kind = _classify(headers.get("User-Agent", "")[:_MAX_LENGTH])[1]
    return "mobile" if kind == "desktop" and headers.get("Sec-CH-UA-Mobile") == "?1" else kind


@lru_cache(2048)  # there are few different ones, and matching takes 30 µs
def _classify(agent: str) -> tuple[bool, str]:
    kind = "tablet" if _TABLET.search(agent) else "mobile" if _MOBILE.search(agent) else "desktop"
    return not agent or _BOT.search(agent) is not None, kind
