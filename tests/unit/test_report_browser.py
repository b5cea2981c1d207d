"""The report in a real Chromium: it draws, filters and prints, and reports no error."""

import shutil

import pytest

from report_results import EVIL, example
from twolayer.report.html import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
IN_VIEW = "document.querySelector(location.hash).getBoundingClientRect().top < 800"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page of three results, one of them hostile."""
    results = [example(), example("loss-floors"), example("x", word=EVIL)]
    path = write_report(results, tmp_path_factory.mktemp("report") / "report.html")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright here: pip install 'twolayer[browser]'"
    )
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, address):
    """A function that opens the page; every error and request is held against it afterwards."""
    errors, contexts = [], []

    def open_page(fragment="", *, width=1280, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: errors.append(m.text) if m.type in {"error", "warning"} else 0)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: (errors.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:"))
                else errors.append(r.url))  # fmt: skip
        page.goto(address + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def draw_all(page):
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_are_drawn_at_every_size_and_scheme(opened, width, scheme):
    """All figures are drawn when scrolled to, in readable colours, and nothing sticks out."""
    page = opened(width=width, scheme=scheme)
    assert page.locator(".plot.drawn").count() < page.locator(".plot").count() == 9
    draw_all(page)
    assert page.locator(".plot .main-svg").count() >= 9
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".plot .trace, .plot .hm").count() >= 9
    ink, ground = page.evaluate(
        """() => [".plot .xtick text", "body"].map((name, k) => {
            const style = getComputedStyle(document.querySelector(name));
            return (k ? style.backgroundColor : style.fill).match(/[0-9]+/g).map(Number);
        })"""
    )
    bright = [sum(channels[:3]) / 3 for channels in (ink, ground)]
    assert abs(bright[0] - bright[1]) > 150
    assert (bright[1] < 128) == (scheme == "dark")


def test_filters_leave_what_they_name(opened):
    """Words, theory and verdict filter together; the count says how many; Reset shows all."""
    page = opened()
    shown = page.locator("#shown")
    assert shown.inner_text() == "9 claims"
    page.fill("#search", "who knows")
    assert page.locator(".claim:visible").count() == 3
    assert shown.inner_text() == "3 of 9 claims"
    page.select_option("#paper", "subspace_sparse")
    assert page.locator(".claim:visible").count() == 2
    page.uncheck('input[value="failed"]')
    assert page.locator(".claim:visible").count() == 0
    assert page.locator("#nothing").is_visible()
    page.get_by_role("button", name="Reset").click()
    assert page.locator(".claim:visible").count() == 9
    page.fill("#search", "d^-1/2 floors")  # formulas are found as they are written
    assert page.locator("article:visible").count() == 1


def test_everything_is_reached_by_keyboard(opened):
    """Tab goes from the skip link to filters, links, figures' buttons and details; keys work."""
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(
            "(document.activeElement.id || document.activeElement.className || "
            "document.activeElement.tagName).toString()"
        ))  # fmt: skip
    assert {"search", "paper", "anchor", "copy", "SUMMARY"} <= reached
    page.locator("#search").focus()
    page.keyboard.type("first")
    assert page.locator(".claim:visible").count() == 3
    draw_all(page)
    button = page.get_by_role("button", name="logarithmic y axis").first
    before = button.get_attribute("aria-pressed")
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") != before
    page.locator("figure summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("figure table").first.is_visible()


def test_fragments_lead_to_claims(opened):
    """A link with a claim's fragment shows the claim, even where a filter hid it."""
    fragment = "#subspace-sparse-loss-floors-second"
    page = opened(fragment)
    claim = page.locator(fragment)
    page.wait_for_function(
        "document.querySelector(location.hash).getBoundingClientRect().top < 800"
    )
    assert claim.is_visible()
    page.fill("#search", "nothing like it")
    assert not claim.is_visible()
    page.evaluate("location.hash = ''")
    page.evaluate(f"location.hash = '{fragment}'")
    claim.wait_for(state="visible")
    page.wait_for_function(
        "document.querySelector(location.hash).getBoundingClientRect().top < 800"
    )


def test_it_prints(opened):
    """Printed, the page has its figures, none of which had come into view, and no filter bar."""
    page = opened()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.locator(".plot .main-svg").last.wait_for()
    assert page.locator(".plot.drawn").count() == 9
    assert not page.locator(".filters").is_visible()
    assert len(page.pdf()) > 50_000


def test_it_can_be_read_without_scripts(opened):
    """Without JavaScript all claims and the numbers of the figures are there."""
    page = opened(java_script_enabled=False)
    assert page.locator(".claim:visible").count() == 9
    assert page.locator("figure summary:visible").count() == 9


def test_figures_have_words(opened):
    """Every figure is an image with a name for who can't see it, and formulas have their text."""
    page = opened()
    for plot in page.locator(".plot").all():
        assert len(plot.get_attribute("aria-label")) > 30
    assert page.locator("math").count() == page.locator("math[alttext]").count() > 0
    assert page.evaluate("getComputedStyle(document.querySelector('annotation')).display") == "none"
