"""A real Chromium over a page: what it shows, asks for and complains of, and what axe finds."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import axe_playwright_python
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from tests.support.debian import program

#: What axe calls so keeps people from using a page.
GRAVE = ("serious", "critical")

#: Widths of a phone and of a desk, CSS pixels.
NARROW, WIDE = 360, 1400

#: axe's own code.
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"

#: How long anything in the browser may take, milliseconds.
PATIENCE_MS = 60_000


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, from Debian's package; without it the test is skipped, or fails where CI=true."""
    path = program("chromium", "chromium")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(slots=True)
class Look:
    """A page in the browser; complaints: what it wrote on the console; asked: hosts it asked."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def overflows(self) -> bool:
        """Whether the page scrolls sideways."""
        root = "document.scrollingElement"
        return bool(self.page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"))

    def text(self) -> str:
        """What a person reads there."""
        return self.page.inner_text("body")

    def saved(self, file: Path) -> Path:
        """A picture of the whole page."""
        self.page.screenshot(path=file, full_page=True)
        return file

    def findings(self) -> list[str]:
        """What axe finds serious or critical: its rule, and the elements; needs JavaScript."""
        # axe runs in the page, where the policy lets no foreign script in: the debugger may.
        session = self.page.context.new_cdp_session(self.page)
        session.send("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
        expression = "axe.run().then(found => JSON.stringify(found.violations))"
        wanted = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = session.send("Runtime.evaluate", wanted)
        found: list[dict[str, Any]] = json.loads(answer["result"]["value"])
        return [
            f"{one['id']}: {', '.join(str(node['target']) for node in one['nodes'])}"
            for one in found
            if one["impact"] in GRAVE
        ]


@contextlib.contextmanager
def looking(
    browser: Browser,
    url: str,
    *,
    width: int = WIDE,
    scheme: Literal["light", "dark"] = "light",
    script: bool = True,
    password: str = "",
) -> Iterator[Look]:
    """The page under a URL, loaded, in a browser window of this width."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        java_script_enabled=script,
        http_credentials={"username": "any", "password": password} if password else None,
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    look = Look(page)

    def note(request: Request) -> None:
        look.asked.add(urlsplit(request.url).netloc)

    page.on("request", note)
    page.on("console", lambda message: look.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: look.complaints.append(str(error)))
    try:
        page.goto(url, wait_until="load")
        yield look
    finally:
        context.close()
