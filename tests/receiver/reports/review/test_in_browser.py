"""The review as a page in Chromium: only tables are wider than a phone, and every line has its threshold."""

from pathlib import Path

import pytest

from deploy.local.chromium import chromium
from receiver.clients.promql import Comparison
from receiver.reports.review.model import DeadPanel, Fired, Tuned
from receiver.reports.review.render import html_page
from receiver.reports.review.sections import content
from receiver.reports.review.threshold import Advice, Candidate, Closeness
from tests.receiver.reports.review.test_parts import RULE, a_baseline, a_review

LONG = "DatabaseQueryLatencyAboveBenchmarkForAVeryLongTime"


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
async def test_the_page_fits(tmp_path: Path, width: int, scheme: str) -> None:
    curve = tuple((1.79e9 + n * 3_600, float(n % 9)) for n in range(100))
    tried = (Candidate(5, 0, 0), Candidate(7, 3, 60, current=True))
    near = Closeness((1, 2, 3, 4, 5), 8, 100)
    tuned = Tuned(RULE, Comparison("a", ">", 7.0, "a"), near, tried, Advice("loosen", 9, "too often"), curve, 3)
    dead = DeadPanel("Board", "Panel", "sum(" + "x" * 300 + ")", "gave nothing")
    fired = Fired(RULE, (), 1, 0)
    review = a_review(
        tuned=(tuned,), fired=(fired,), dead=(dead,), panels=1, baselines=(a_baseline(key=LONG, curve=curve),)
    )
    path = tmp_path / "page.html"
    path.write_text(html_page(content(review)), "utf-8")
    async with chromium() as browser:
        shown = await browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        await shown.goto(path.as_uri())
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await shown.evaluate(wide) == 0
        plots = shown.locator("figure svg")
        assert await plots.count() == 3  # firings, a threshold, a baseline
        legends = await shown.locator("figure svg .legend text").all_text_contents()
        assert {"threshold 7", "target 0.7"} <= {text.strip() for text in legends}
        paper, ink = await shown.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        assert (paper, ink) == (
            ("rgb(13, 17, 23)", "rgb(230, 237, 243)") if scheme == "dark" else ("rgb(255, 255, 255)", "rgb(27, 31, 36)")
        )
