"""The documentation can be read on a phone and on a desk, by day and by night."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Browser, Page, expect

TROUBLES = (Path(__file__).parent / "troubles.js").read_text(encoding="utf-8")
HEIGHT = 800
#: In milliseconds, for a search on a busy machine.
PATIENCE = 60_000

IMAGES = "article figure :is(img, svg)"

#: How much brighter or darker than the page something must be to be seen.
SEEN = 64

on_all_screens = pytest.mark.parametrize(
    "width", [pytest.param(375, id="phone"), pytest.param(1280, id="desk")]
)
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
by_day_and_night = pytest.mark.parametrize("scheme", SCHEMES)


def pages(site: Path) -> list[str]:
    """Return the names of all pages, those that are made by Sphinx included."""
    return sorted(str(page.relative_to(site)) for page in site.rglob("*.html"))


@contextmanager
def reading(browser: Browser, width: int, scheme: Scheme) -> Iterator[Page]:
    page = browser.new_page(
        viewport={"width": width, "height": HEIGHT}, color_scheme=scheme
    )
    yield page
    page.close()


def seen_of(page: Page, image: int) -> int:
    """Return how many points of an image differ from the page around it."""
    picture = page.locator(IMAGES).nth(image).screenshot()
    brightness = Image.open(BytesIO(picture)).convert("L")
    around = Image.new("L", brightness.size, brightness.getpixel((0, 0)))
    histogram = ImageChops.difference(brightness, around).histogram()
    return sum(histogram[SEEN:])


@by_day_and_night
@on_all_screens
def test_nothing_is_cut_or_illegible(
    site: Path, browser: Browser, shots: Path, width: int, scheme: Scheme
) -> None:
    troubles = {}

    with reading(browser, width, scheme) as page:
        for name in pages(site):
            page.goto((site / name).as_uri())
            picture = f"{name.replace('/', '.')}-{width}-{scheme}.png"
            page.screenshot(path=shots / picture, full_page=True)
            troubles[name] = page.evaluate(TROUBLES)

    assert {name: found for name, found in troubles.items() if found} == {}


@on_all_screens
def test_images_show_by_night_what_they_show_by_day(
    site: Path, browser: Browser, width: int
) -> None:
    """No black lines on a black page, and no white box around them."""
    seen: dict[str, list[int]] = {}

    for scheme in SCHEMES:
        with reading(browser, width, scheme) as page:
            for name in pages(site):
                page.goto((site / name).as_uri())
                for image in range(page.locator(IMAGES).count()):
                    seen.setdefault(f"{name}, {image}", []).append(seen_of(page, image))

    assert seen
    for name, (by_day, by_night) in seen.items():
        assert 0 < by_day / 2 < by_night < by_day * 2, name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("SIGTERM", "operations.html"),
        ("duplicate", "brokers.html"),
        ("duplicate", "signals.html"),
        ("metrics", "observability.html"),
        ("exactly once", "guarantees.html"),
    ],
)
def test_the_search_finds_the_page(
    site: Path, browser: Browser, words: str, name: str
) -> None:
    with reading(browser, 1280, "light") as page:
        page.goto(f"{(site / 'search.html').as_uri()}?q={words}")
        found = page.locator(f"#search-results li a[href^='{name}']").first

        expect(found).to_be_visible(timeout=PATIENCE)
