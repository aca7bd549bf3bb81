"""Chromium on the gallery: log in as a person does, open tabs, look whether pictures have loaded.

Needs a Chromium: ``$CHROMIUM``, else Debian's package ``chromium``.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

from playwright.sync_api import BrowserContext, ConsoleMessage, FrameLocator, Page, expect, sync_playwright

from dev.gallery_server import password_of

SIZE = (1440, 900)
PATIENCE = 20_000
"""Milliseconds after which something that should be there is missing."""
expect.set_options(timeout=PATIENCE)

SEEN = """() => {
  const shown = (img) => {
    const box = img.getBoundingClientRect();
    return box.width && box.bottom > 0 && box.top < innerHeight;
  };
  return [...document.images].filter(shown).map((img) => img.complete ? img.naturalWidth : 0);
}"""
"""The widths in their files of the pictures that are in view; 0 of one that has not loaded."""

EARLY = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
"""What Airflow's own page provokes before anybody has logged in."""


def chromium() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    named = os.environ.get("CHROMIUM") or shutil.which("chromium")
    return named if named and Path(named).exists() else None


@contextmanager
def browser(size: tuple[int, int] = SIZE) -> Iterator[BrowserContext]:
    """Yield a fresh Chromium, which has the same cookies and cache on all pages.

    :raises RuntimeError: Chromium is not installed.
    """
    path = chromium()
    if not path:
        raise RuntimeError("no Chromium: install Debian's package 'chromium', or set CHROMIUM")
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=path, args=args)
        try:
            yield running.new_context(viewport={"width": size[0], "height": size[1]})
        finally:
            running.close()


class Visitor:
    """A person in front of Airflow, who has a user of it.

    :ivar complaints: errors on the console, and exceptions, since the login.
    :ivar transferred: bytes of the plugin's responses as transferred, by URL.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.transferred: dict[str, float] = {}
        page.set_default_timeout(PATIENCE)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self._count_bytes()

    def forget_files(self) -> None:
        """Empty the browser's cache, and count bytes from nothing."""
        self._wire.send("Network.clearBrowserCache")
        self.transferred.clear()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    def _count_bytes(self) -> None:
        wire = self._wire = self.page.context.new_cdp_session(self.page)
        addresses: dict[str, str] = {}
        wire.on(
            "Network.requestWillBeSent",
            lambda event: addresses.update({event["requestId"]: event["request"]["url"]}),
        )
        wire.on("Network.loadingFinished", lambda event: self._finished(addresses, event))
        wire.send("Network.enable")

    def _finished(self, addresses: dict[str, str], event: dict[str, Any]) -> None:
        address = addresses.get(event["requestId"], "")
        if "/quickrouter/" in address:
            size = event["encodedDataLength"]
            self.transferred[address] = self.transferred.get(address, 0) + size

    def log_in(self, user: str) -> None:
        """Log in through Airflow's login page."""
        self.page.goto(f"{self.url}/")
        self.page.locator("input[name=username]").fill(user)
        self.page.locator("input[name=password]").fill(password_of(user))
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("button", name="User")).to_be_visible()
        self.complaints[:] = [text for text in self.complaints if not text.startswith(EARLY)]

    def open_run(self, dag_id: str, run_id: str) -> FrameLocator:
        """Open a run's page and press its tab."""
        self.page.goto(self.url + run_page(dag_id, run_id))
        return self.press_tab()

    def open_task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> FrameLocator:
        """Open the page of a task instance and press its tab."""
        mapped = "" if map_index < 0 else f"/mapped/{map_index}"
        path = f"{run_page(dag_id, run_id)}/tasks/{quote(task_id)}{mapped}"
        self.page.goto(self.url + path)
        return self.press_tab()

    def press_tab(self) -> FrameLocator:
        """Press the tab of the gallery on the page that is open, and wait until it is filled."""
        self.page.get_by_role("link", name="Pictures", exact=True).click()
        return self.ready()

    def ready(self) -> FrameLocator:
        """Wait until the gallery has loaded."""
        frame = self.page.frame_locator("iframe[title=Pictures]")
        expect(frame.locator("#gallery[aria-busy=false]")).to_be_attached()
        return frame

    def choose_theme(self, name: str) -> None:
        """Use Airflow's own menu: ``Light Mode`` or ``Dark Mode``."""
        self.page.get_by_role("button", name="User").click()
        self.page.get_by_role("menuitem", name="Appearance").click()
        self.page.get_by_role("menuitemradio", name=name).click()
        self.page.keyboard.press("Escape")
        self.page.evaluate("document.activeElement.blur()")  # else its outline is in the screenshot
        self.page.mouse.move(700, 80)

    def widths(self) -> list[int]:
        """Return the ``naturalWidth`` of each picture of the gallery that is in view."""
        handle = self.page.locator("iframe[title=Pictures]").element_handle()
        frame = handle.content_frame() if handle else None
        return list(frame.evaluate(SEEN)) if frame else []

    def wait_for_pictures(self, least: int = 1) -> list[int]:
        """Wait until every picture in view has loaded, and return their widths.

        :raises AssertionError: after some seconds there are fewer than ``least``, or some empty.
        """
        until = perf_counter() + PATIENCE / 1000
        while True:
            widths = self.widths()
            if (len(widths) >= least and all(widths)) or perf_counter() > until:
                break
            self.page.wait_for_timeout(20)
        assert len(widths) >= least, f"{len(widths)} pictures in view, not {least}"  # noqa: S101
        assert all(widths), f"pictures that have not loaded: {widths}"  # noqa: S101
        return widths

    def time_to_first_picture(self, dag_id: str, run_id: str) -> float:
        """Open a run's page and press its tab; return the seconds until a picture can be seen."""
        self.page.goto(self.url + run_page(dag_id, run_id))
        tab = self.page.get_by_role("link", name="Pictures", exact=True)
        expect(tab).to_be_visible()
        self.page.wait_for_load_state("networkidle")
        began = perf_counter()
        tab.click()
        while not any(self.widths_if_there()):
            if perf_counter() > began + PATIENCE / 1000:
                raise AssertionError("no picture at all")
            self.page.wait_for_timeout(10)
        return perf_counter() - began

    def widths_if_there(self) -> list[int]:
        """Return :meth:`widths`, an empty list before the gallery exists."""
        return self.widths() if self.page.locator("iframe[title=Pictures]").count() else []


def run_page(dag_id: str, run_id: str) -> str:
    """Return the path of a run's page in Airflow."""
    return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
