"""The README's two screenshots: python docs/images/make.py runs/demo runs/pretrained"""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from chromium import ARGUMENTS, find_chromium  # pyright: ignore[reportMissingImports]

HERE = Path(__file__).parent


def shoot(page: Page, source: Path, name: str) -> None:
    page.goto(source.resolve().as_uri())
    page.wait_for_timeout(300)
    page.screenshot(path=HERE / f"{name}.png")


def main(demo: Path, pretrained: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
        shoot(page, demo / "report.html", "report")
        shoot(page, pretrained / "view.html", "viewer")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
