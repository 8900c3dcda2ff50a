"""Takes a picture of the page of `scripts/demo --look`: `picture.py FILE [URL]`."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]

#: The part of the page that is shown, CSS pixels.
WIDTH, HEIGHT = 1280, 745

#: Which page.
PATH = "installations"

#: Colours of the picture: few, so that its file is small.
COLOURS = 64


@contextmanager
def demo() -> Iterator[str]:
    """Run the demo; yields where its page is, and ends it as Ctrl-C does."""
    command = [ROOT / "scripts" / "demo", "--look"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True)
    try:
        for line in running.stdout or ():
            sys.stdout.write(line)
            if found := re.search(r"Its page: (http://\S+)", line):
                yield found[1]
                return
        sys.exit("picture: the demo has ended")
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGINT)
            running.wait(60)


def main(file: str, url: str = "") -> None:
    """Take the picture."""
    with demo() if not url else nullcontext(url) as where, sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=options)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(where + PATH)
        picture = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    picture.convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
