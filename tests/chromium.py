"""A headless Chromium for tests: skipped with a reason where there is none, unless one is required."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Path of the browser on this machine; THINWIRE_CHROMIUM names another one."""
    if named := os.environ.get("THINWIRE_CHROMIUM"):
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def is_required() -> bool:
    """Whether a missing browser is a failure: in CI, or with THINWIRE_BROWSER=required."""
    return os.environ.get("CI") == "true" or os.environ.get("THINWIRE_BROWSER") == "required"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. Skips (or fails, where one is required) when there is no Chromium."""
    path = find_chromium()
    if path is None:
        reason = "no Chromium found: install one (Debian: apt-get install chromium) or set THINWIRE_CHROMIUM"
        pytest.fail(reason) if is_required() else pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """What a page asked for and complained about while it was open."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)


STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def barriers(page: Page, part: str | None = None) -> list[str]:
    """What axe finds on a page against WCAG 2.2 AA and its own good practice: rule, and the first elements.

    `part` is the selector of what has changed since the whole page was looked at: axe takes its time for each element.
    """
    found = Axe().run(page, part, {"runOnly": {"type": "tag", "values": STANDARDS}}).response["violations"]
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes'][:3]]}" for rule in found]


@contextmanager
def opened(
    browser: Browser, path: Path, width: int = 1280, scheme: str = "light", script: bool = True, hash_: str = ""
) -> Iterator[tuple[Page, Watch]]:
    """A page opened from disk; when the block ends it must not have complained or asked for anything else."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=script,
        has_touch=width < 600,
    )
    page = context.new_page()
    watch = Watch(page)
    url = path.resolve().as_uri() + hash_
    page.goto(url)
    yield page, watch
    strangers = [asked for asked in watch.requests if not asked.startswith((path.resolve().as_uri(), "blob:", "data:"))]
    assert strangers == [], f"the page asked for {strangers}"
    assert watch.errors == [], f"the page complained: {watch.errors}"
    context.close()
