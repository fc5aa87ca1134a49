"""Tells bots from people and detects the kind of device, from a request's headers. Pure.

Bots are those of the list that github.com/monperrus/crawler-user-agents maintains, and a few tools that it lacks.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from crawleruseragents import is_crawler

# What the list lacks: renderers, page tests and libraries, and bots that name no address of theirs. A word that ends in
# "bot" is not enough: CUBOT and "M bot 60" are phones, baiduboxapp and YandexSearch are apps that people browse with.
_BOT = re.compile(
    r"(?<!cu)bot/\d|yandex[a-z]*bot|\(compatible; ?yandex|bingpreview|prerender|phantomjs|pagespeed|lighthouse|"
    r"feedfetcher|duplexweb-google|cloudflarebrowserrendering|"
    r"^(?:java|undici|okhttp|aiohttp|axios|curl|wget|node|k6|prometheus)\b",
    re.IGNORECASE,
)
# What the list takes for a spider, and people browse with.
_BROWSER = re.compile(r"sogou(?:mse|mobilebrowser)", re.IGNORECASE)
# Apps such as Zalo and Instagram name Android a second time, behind "Mobile".
_TABLET = re.compile(r"ipad|tablet|kindle|silk/|playbook|^(?!.*mobile).*android", re.IGNORECASE)
_MOBILE = re.compile(r"mobi|iphone|ipod|windows phone|opera mini", re.IGNORECASE)

_MAX_LENGTH = 300


def is_bot(user_agent: str) -> bool:
    """Whether a User-Agent is a bot's; an empty one is not a browser's."""
    return _classify(user_agent[:_MAX_LENGTH])[0]


def device(headers: Mapping[str, str]) -> str:
    """Return desktop, mobile or tablet; nothing else of the User-Agent is kept."""
    kind = _classify(headers.get("User-Agent", "")[:_MAX_LENGTH])[1]
    return "mobile" if kind == "desktop" and headers.get("Sec-CH-UA-Mobile") == "?1" else kind


@lru_cache(2048)  # there are few different ones, and a look through the list takes about half a millisecond
def _classify(agent: str) -> tuple[bool, str]:
    kind = "tablet" if _TABLET.search(agent) else "mobile" if _MOBILE.search(agent) else "desktop"
    listed = is_crawler(agent) and not _BROWSER.search(agent)
    return not agent or _BOT.search(agent) is not None or listed, kind
