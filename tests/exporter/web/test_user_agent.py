"""Who counts as a bot, and who must not: phones and apps whose names look like a bot's."""

import pytest

from exporter.web.user_agent import device, is_bot

_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"

PEOPLE = [
    f"Mozilla/5.0 (Linux; Android 9; CUBOT P40) {_CHROME}",
    f"Mozilla/5.0 (Linux; Android 11; CUBOT_X30 Build/RP1A) {_CHROME}",
    f"Mozilla/5.0 (Linux; Android 14; Cubot KINGKONG) {_CHROME}",
    f"Mozilla/5.0 (Linux; Android 12; CUBOT/KingKong) {_CHROME}",
    f"Mozilla/5.0 (Linux; Android 7.0; M bot 60 Build/NRD90M) {_CHROME}",
    f"Mozilla/5.0 (Linux; Android 7.0; Mbot 60) {_CHROME}",
    f"Mozilla/5.0 (Linux; Android 10; SM-G973) {_CHROME} T7/13.0 baiduboxapp/13.0.0.11 (Baidu; P1 10)",
    f"Mozilla/5.0 (Linux; Android 12) {_CHROME} YandexSearch/22.50",
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 16_0 like Mac OS X) AppleWebKit/605.1.15 Version/16.0 YaBrowser/22.9 "
        "Mobile/15E148 Safari/604.1"
    ),
    f"Mozilla/5.0 (Linux; U; Android 10; zh-cn; M2) {_CHROME} SogouMSE,SogouMobileBrowser/5.28",
    f"Mozilla/5.0 (Linux; Android 12) {_CHROME} [FBAN/EMA;FBLC/en_US;FBAV/300]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605 Mobile/15E148 Instagram 250.0",
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/120 Electron/28 Safari/537.36 "
        "Slack_SSB/4.29"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
]
BOTS = [
    "",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; GoogleOther)",
    (
        f"Mozilla/5.0 (Linux; Android 7.0) {_CHROME} (compatible; Google-Read-Aloud; "
        "+https://support.google.com/webmasters/answer/1061943)"
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Perplexity-User/1.0; "
        "+https://perplexity.ai/perplexity-user)"
    ),
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120 Safari/537.36 NewRelicSynthetics/1.0",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/120.0 Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 11; moto g power) {_CHROME} Chrome-Lighthouse",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "YandexMobileBot/3.0",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; ChatGPT-User/1.0; +https://openai.com/bot)",
    "GPTBot/1.2",
    "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "Mozilla/5.0 (compatible; SomeNewBot/0.1)",
    "DatadogSynthetics",
    "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
    "FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)",
    f"Mozilla/5.0 (Linux; Android 11; Pixel 2; DuplexWeb-Google/1.0) {_CHROME}",
    "Mozilla/5.0 (compatible; CloudflareBrowserRenderingCrawler/1.0)",
    "k6/0.47.0 (https://k6.io/)",
    "Prometheus/3.5.0",
    "facebookexternalhit/1.1",
    "Prerender (+https://github.com/prerender/prerender)",
    "python-requests/2.32.0",
    "aiohttp/3.14",
    "axios/1.6.0",
    "curl/8.1.2",
    "Go-http-client/1.1",
    "Java/21.0.1",
    "okhttp/4.9.0",
    "undici",
    "node-fetch/1.0",
]


@pytest.mark.parametrize("agent", PEOPLE)
def test_people_are_not_bots(agent: str) -> None:
    assert not is_bot(agent)


@pytest.mark.parametrize("agent", BOTS)
def test_bots_are_bots(agent: str) -> None:
    assert is_bot(agent)


def test_a_phone_with_a_name_like_a_bots_is_a_phone() -> None:
    assert device({"User-Agent": PEOPLE[0]}) == "mobile"
    for app in ("Zalo android/12100786 ZaloLanguage/vi", "Instagram 332.0.0.0.93 Android (31/12; 440dpi; 1080x2400)"):
        assert device({"User-Agent": f"Mozilla/5.0 (Linux; Android 12; SM-A556E; wv) {_CHROME} {app}"}) == "mobile"
        in_tablet = _CHROME.replace("Mobile ", "")
        assert device({"User-Agent": f"Mozilla/5.0 (Linux; Android 12; SM-X200; wv) {in_tablet} {app}"}) == "tablet"
