"""An annotator at work in Label Studio: a browser, its mouse and its keys."""

from __future__ import annotations

import importlib
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from live_studio import Live
from PIL import Image as Pictures

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Milliseconds until the browser gives up.
PATIENCE = 60_000

#: The regions of the task on the screen: id, x, y of each.
REGIONS = """() => {
  const annotation = window.Htx?.annotationStore?.selected;
  const image = document.querySelector('img[alt=image]');
  if (!annotation || !image?.complete || !image.naturalWidth) return null;
  return annotation.regions.map((region) => [region.cleanId, region.x, region.y]);
}"""


@contextmanager
def browser(program: Path, folder: Path) -> Iterator[Any]:
    """A page of Chromium, which keeps its data in a folder."""
    sync_playwright = importlib.import_module("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=program,
            args=CHROMIUM_OPTIONS,
            headless=True,
            viewport={"width": 1280, "height": 800},
        )
        context.set_default_timeout(PATIENCE)
        yield context.new_page()
        context.close()


@dataclass
class Desk:
    """An annotator's browser, logged in; places are in percent of the image."""

    page: Any

    def log_in(self, server: Live) -> None:
        self.page.goto(f"{server.url}/user/login/")
        self.page.fill("input[name=email]", server.log_in.username)
        self.page.fill("input[name=password]", server.log_in.password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "login" not in url)

    def begin(self, url: str) -> str:
        """Press "Label All Tasks", read the instructions and put them away."""
        self.page.goto(url)
        self.page.get_by_role("button", name="Label All Tasks").click()
        self.page.get_by_text("Labeling Instructions").wait_for()
        text = str(self.page.locator("[class*=modal-ls__body]").inner_text())
        self.page.get_by_role("button", name="Close modal").click()
        self.page.get_by_text("Labeling Instructions").wait_for(state="detached")
        return text

    def on_screen(self) -> dict[str, tuple[float, float]] | None:
        """Id and place of each region; None as long as there is no image."""
        found = self.page.evaluate(REGIONS)
        return None if found is None else {region[0]: tuple(region[1:]) for region in found}

    def regions(self, task: dict[str, Any]) -> dict[str, tuple[float, float]]:
        """Id and place of each region, as soon as this task is on the screen."""
        ours = {region["id"] for region in task["predictions"][0]["result"]}
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            found = self.on_screen()
            if found and found.keys() <= ours:
                return found
            assert time.monotonic() < deadline, f"task {task['id']} does not appear: {found}"
            self.page.wait_for_timeout(100)

    def wait_for_colour(self, colour: tuple[int, int, int], place: Sequence[float]) -> None:
        """Wait until the screen has about this colour there: the canvas is drawn a little later."""
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            (found,) = self.colours([place])
            if np.abs(found - colour).max() < 60:
                return
            assert time.monotonic() < deadline, f"{found} instead of {colour} at {place}"

    def colours(self, places: Sequence[Sequence[float]]) -> list[np.ndarray]:
        """(3,) red, green and blue of the screen at each place."""
        picture = Pictures.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        at = [tuple(map(int, self.at(place))) for place in places]
        return [np.array(picture.getpixel(place), dtype=int) for place in at]

    def at(self, place: Sequence[float]) -> tuple[float, float]:
        """A place in pixels of the screen."""
        image = self.page.locator("img[alt=image]").bounding_box()
        x, y = (part / 100 for part in place)
        return image["x"] + x * image["width"], image["y"] + y * image["height"]

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        self.page.mouse.move(*self.at(start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(end), steps=8)
        self.page.mouse.up()

    def click(self, place: Sequence[float]) -> None:
        self.page.mouse.click(*self.at(place))

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.page.wait_for_timeout(100)  # Label Studio takes the key when it next draws

    def submit(self) -> None:
        with self.page.expect_response(_is_submission) as answer:
            self.page.get_by_test_id("bottombar-submit-button").click()
        assert answer.value.status == 201


def _is_submission(response: Any) -> bool:
    return response.request.method == "POST" and "/annotations" in response.url
