"""Tells from a request's headers whether a person sends it, and with what kind of device. Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache

# Sentry Relay's list (relay-filter/src/web_crawlers.rs), and the tools that load pages to measure or to print them.
_BOT = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|mediapartners|facebookexternalhit|ia_archiver|yandex|baidu|bingpreview|"
    r"google-structured|google-inspectiontool|apis-google|duplexweb|feedfetcher|headlesschrome|phantomjs|lighthouse|"
    r"pagespeed|ptst/|gtmetrix|pingdom|uptimerobot|statuscake|site24x7|datadogsynthetics|checkly|prerender|"
    r"curl/|wget/|python-requests|aiohttp/|go-http-client|java/|okhttp|axios/|node-fetch|scrapy|httpclient",
    re.IGNORECASE,
)
_TABLET = re.compile(r"ipad|tablet|kindle|silk/|playbook|android(?!.*mobile)", re.IGNORECASE)
_MOBILE = re.compile(r"mobi|iphone|ipod|windows phone|opera mini", re.IGNORECASE)


_LONGEST = 300


def is_bot(user_agent: str) -> bool:
    """Say whether a User-Agent is a robot's; an empty one is no browser's."""
    return _seen(user_agent[:_LONGEST])[0]


def device(headers: Mapping[str, str]) -> str:
    """Give desktop, mobile or tablet; nothing else of the User-Agent is kept."""
    found = _seen(headers.get("User-Agent", "")[:_LONGEST])[1]
    return "mobile" if found == "desktop" and headers.get("Sec-CH-UA-Mobile") == "?1" else found


@lru_cache(2048)  # there are few of them, and the patterns cost 30 µs
def _seen(agent: str) -> tuple[bool, str]:
    kind = "tablet" if _TABLET.search(agent) else "mobile" if _MOBILE.search(agent) else "desktop"
    return not agent or _BOT.search(agent) is not None, kind
