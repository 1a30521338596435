"""One Chromium for a module of tests, and what they ask of every page."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 780}

# The lowest contrast of a text with what is behind it, and the text.
LOWEST_CONTRAST = """() => {
  const parse = (color) => {
    const [r, g, b, a] = color.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a === undefined ? 1 : a];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const color = parse(getComputedStyle(element).backgroundColor);
    return color[3] === 1 ? color.slice(0, 3) : over(color, behind(element.parentElement));
  };
  const light = (color) => {
    const [r, g, b] = color.map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let lowest = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, element = text.parentElement;
    if (!text.textContent.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), under = behind(element);
    const color = element.closest("svg") ? style.fill : style.color;
    const both = [light(over(parse(color), under)), light(under)].sort((a, b) => b - a);
    const contrast = (both[0] + 0.05) / (both[1] + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, text.textContent.trim()];
  }
  return lowest;
}"""


@dataclass
class Opened:
    """A page that is open in Chromium.

    Attributes
    ----------
    page
        Playwright's page.
    messages
        What it wrote on the console, and errors of its scripts.
    requested
        Addresses that it asked for, without data URIs.
    """

    page: Any
    messages: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium, or skip where there is none."""
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, file: Path, size: dict[str, int], scheme: str) -> Iterator[Opened]:
    """Open a file."""
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.messages.append(message.text))
    found.page.on("pageerror", lambda error: found.messages.append(str(error)))
    found.page.on(
        "request",
        lambda asked: None if asked.url.startswith("data:") else found.requested.append(asked.url),
    )
    found.page.goto(file.as_uri())
    try:
        yield found
    finally:
        context.close()
