"""``make browser``: look at the gallery in Chromium as a person does, and take its pictures.

A sandbox, an Airflow with a login, example DAGs that really run, and a run with 1,000 pictures.
It ends with an error if a picture has not loaded, the console complains, or the large run is slow
or heavy. The screenshots are those of the documentation.
"""

import shutil
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import FrameLocator, expect

from dev.airflow_services import AirflowServices
from dev.gallery_browser import Visitor, browser
from dev.gallery_data import as_json
from dev.gallery_runs import DAG_ID, large_run, motley_run
from dev.gallery_server import DAGS, ROOT, UserRest, fill_in, users_env
from dev.gateway import connection, connection_env, sandbox
from dev.local_airflow import LocalAirflow
from dev.report import Clock, failed_logs
from dev.waiting import ending_in_order

HOME = ROOT / ".airflow" / "browser"
SHOTS = ROOT / "docs" / "screenshots"
ONE, MANY = "quickrouter_text_to_image", "quickrouter_mapped_prompts"
SUBJECTS = [
    "a lighthouse",
    "a forest at dawn",
    "the ocean at night",
    "a harbour in winter",
    "an alpine lake",
    "a desert city",
    "terraced rice fields",
    "a red planet",
]
SECONDS = 2.0
BYTES = 1_000_000
Say = Callable[[str], None]


class AirflowWithLogin(LocalAirflow):
    """An Airflow with passwords; ``admin`` has one."""

    def __init__(self, home: Path, dags: Path, env: dict[str, str], say: Say) -> None:
        # Paused: only what is triggered here may run.
        paused = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True", "PYTHONPATH": str(ROOT)}
        super().__init__(home, dags, {**env, **paused, **users_env(home, {"admin": "admin"})})
        self.rest = UserRest(self.url, "admin")
        self.services = AirflowServices(self.env, self.logs, self.rest, say)


class Session:
    """What is looked at, in the order of :func:`look`."""

    def __init__(self, airflow: LocalAirflow, visitor: Visitor, say: Say) -> None:
        self.airflow = airflow
        self.visitor = visitor
        self.say = say

    def shot(self, name: str) -> None:
        """Save what is on the screen as ``<name>.png``, in 256 colours, as a third of the bytes."""
        self.visitor.page.wait_for_timeout(400)
        whole = Image.open(BytesIO(self.visitor.page.screenshot())).convert("RGB")
        file = SHOTS / f"{name}.png"
        colors = whole.quantize(256, method=Image.Quantize.MEDIANCUT)
        whole.quantize(palette=colors, dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
        self.say(f"{file.relative_to(ROOT)} ({file.stat().st_size / 1e3:.0f} kB)")

    def finished(self, dag_id: str, run_id: str) -> None:
        """Wait for a run's end.

        :raises RuntimeError: it failed; the message holds the logs of its tasks.
        """
        if self.airflow.wait_for_run(dag_id, run_id, timeout=240) != "success":
            raise RuntimeError(failed_logs(self.airflow, dag_id, run_id))

    def running(self, run_id: str) -> None:
        """Poll a mapped run that is on its way."""
        for n in range(len(SUBJECTS)):
            self.airflow.wait_for_task(MANY, run_id, "submit", map_index=n, state="success")
        frame = self.visitor.open_run(MANY, run_id)
        expect(frame.locator(".card.running").first).to_be_visible()
        self.shot("gallery-running")
        self.finished(MANY, run_id)
        expect(frame.locator(".card.succeeded")).to_have_count(len(SUBJECTS), timeout=60_000)
        self.visitor.wait_for_pictures(least=4)

    def run(self, run_id: str) -> None:
        """Look at a run's tab in Airflow's two themes."""
        frame = self.visitor.open_run(MANY, run_id)
        for theme in ("dark", "light"):
            self.visitor.choose_theme(f"{theme.title()} Mode")
            expect(frame.locator("html.dark")).to_have_count(int(theme == "dark"))
            self.visitor.wait_for_pictures(least=4)
            self.shot(f"gallery-run-{theme}")
        self.lightbox(frame)

    def lightbox(self, frame: FrameLocator) -> None:
        """Walk through the large pictures with the keyboard alone."""
        keyboard = self.visitor.page.keyboard
        frame.locator(".shot").first.focus()
        keyboard.press("Enter")
        for n in range(len(SUBJECTS)):
            expect(frame.locator(".place")).to_have_text(f"{n + 1} / {len(SUBJECTS)}")
            self.visitor.wait_for_pictures()
            keyboard.press("ArrowRight")
        keyboard.press("Home")
        self.visitor.wait_for_pictures()
        self.shot("gallery-lightbox")
        keyboard.press("Escape")
        expect(frame.locator(".shot").first).to_be_focused()

    def tasks(self, one: str, many: str) -> None:
        """Look at the tabs of a task instance and of a mapped one."""
        self.visitor.open_task(ONE, one, "wait")
        self.visitor.wait_for_pictures()
        self.shot("gallery-task")
        self.visitor.open_task(MANY, many, "submit", 2)
        self.visitor.wait_for_pictures()
        self.shot("gallery-mapped-task")

    def motley(self) -> None:
        """Look at a run with pictures, failures and what has expired."""
        frame = self.visitor.open_run(DAG_ID, "motley")
        frame.locator(".card").last.scroll_into_view_if_needed()
        self.visitor.wait_for_pictures(least=2)
        self.shot("gallery-failures")

    def thousand(self) -> None:
        """Look at a run with 1,000 pictures, each time from nothing, three times or more.

        Other work on the machine only adds time, so up to eight openings may be needed.

        :raises RuntimeError: too slow, or too heavy.
        """
        openings: list[float] = []
        while len(openings) < 3 or (min(openings) > SECONDS and len(openings) < 8):
            self.visitor.forget_files()
            openings.append(self.visitor.time_to_first_picture(DAG_ID, "thousand"))
        frame = self.visitor.ready()
        self.visitor.wait_for_pictures(least=4)
        self.shot("gallery-thousand")
        for card in frame.locator(".card").all()[::4]:
            card.scroll_into_view_if_needed()
            self.visitor.wait_for_pictures()
        whole = sum(self.visitor.transferred.values())
        times = ", ".join(f"{seconds:.2f}" for seconds in openings)
        self.say(f"1,000 pictures: first ones after {times} s; the page has {whole / 1e3:.0f} kB")
        if min(openings) > SECONDS or whole > BYTES:
            raise RuntimeError(f"more than {SECONDS} s or {BYTES / 1e3:.0f} kB")


def look(airflow: LocalAirflow, say: Say) -> None:
    """Run the DAGs and look at all there is.

    :raises RuntimeError: something is not as it should be.
    :raises AssertionError: likewise.
    """
    # The screenshots show where a picture is stored, so that is no folder of this machine's user.
    with TemporaryDirectory(prefix="pictures-") as folder, browser() as context:
        one = airflow.trigger(ONE, {"folder": f"file://{folder}"})
        visitor = Visitor(context.new_page(), airflow.url)
        visitor.log_in("admin")
        session = Session(airflow, visitor, say)
        airflow.wait_for_dag(DAG_ID)
        files = airflow.home / "files"
        fill_in(airflow.env, "dev.gallery_data", given=as_json([motley_run(files), large_run(files)]))
        say("runs with odd ends and with 1,000 pictures are filled in")
        many = airflow.trigger(MANY, {"subjects": SUBJECTS})
        session.running(many)
        session.run(many)
        session.finished(ONE, one)
        session.tasks(one, many)
        session.motley()
        session.thousand()
        if visitor.complaints:
            raise RuntimeError("the console complains:\n" + "\n".join(visitor.complaints))


def dags_folder() -> Path:
    """Return a folder with the example DAGs and the one whose runs are filled in."""
    folder = HOME / "dags"
    folder.mkdir(parents=True)
    for file in [*(ROOT / "dags_examples").glob("*.py"), *DAGS.glob("*.py")]:
        shutil.copy(file, folder)
    return folder


def main() -> int:
    """Check everything; return 0, or 1 after a failure."""
    clock = Clock()
    shutil.rmtree(HOME, ignore_errors=True)
    SHOTS.mkdir(parents=True, exist_ok=True)
    logs, slow = HOME / "logs", ["--starting", "4", "--processing", "8"]
    try:
        with ending_in_order(clock.say), sandbox(logs / "sandbox.log", options=slow) as gateway:
            env = connection_env(connection("any-key-opens-the-sandbox", gateway.url))
            with AirflowWithLogin(HOME, dags_folder(), env, clock.say) as airflow:
                look(airflow, clock.say)
    except AssertionError as error:
        clock.say(f"failed: {error}")
        return 1
    clock.say("every picture has loaded, and the console is clean; every process has ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
