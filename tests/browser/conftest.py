"""A headless Chromium, where the machine has one; the tests that need it are else skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")  # one playwright at a time: others start their own
def browser() -> Iterator[Browser]:
    """The system's Chromium; skipped, saying so, where it or playwright is absent."""
    sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """A function `(html, **context) -> (page, complaints)`: the file opened as a person would.

    `complaints` collects console errors, uncaught exceptions and every request that is not the
    file itself.
    """
    contexts = []

    def open_page(text: str, **options: Any) -> tuple[Any, list[str]]:
        file = tmp_path / "report.html"
        file.write_text(text, encoding="utf-8")
        context = browser.new_context(**options)
        contexts.append(context)
        page, complaints = context.new_page(), []
        page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on("request", lambda r: complaints.append(r.url) if foreign(r.url) else None)
        page.goto(file.as_uri())
        return page, complaints

    def foreign(url: str) -> bool:
        return not url.startswith(("data:", (tmp_path / "report.html").as_uri()))

    yield open_page
    for context in contexts:
        context.close()
