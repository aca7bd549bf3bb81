"""``make demo``: one picture by way of a DAG on a real Airflow, from nothing to the stored file.

It takes about a minute. Everything that it starts ends with it.
"""

import shutil
import sys
from pathlib import Path

from dev.gateway import chosen_gateway, connection_env
from dev.local_airflow import LocalAirflow
from dev.report import Clock, failed_logs, stored_pictures, watch, xcom_lines
from dev.waiting import ending_in_order

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".airflow" / "demo"
DAGS = ROOT / "dags_examples"
OUTPUT = ROOT / "output"
DAG_ID = "quickrouter_text_to_image"
RUN_TIMEOUT = 300.0


def demo(clock: Clock) -> bool:
    """Run the demo and return whether the DAG run succeeded."""
    shutil.rmtree(HOME, ignore_errors=True)
    clock.say(f"a fresh Airflow in {shown(HOME)}")
    with chosen_gateway(HOME / "logs", clock.say) as gateway:
        # Paused: of the example DAGs only the one that is triggered may run.
        env = {**connection_env(gateway), "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}
        with LocalAirflow(HOME, DAGS, env, say=clock.say) as airflow:
            return run_dag(airflow, clock)


def run_dag(airflow: LocalAirflow, clock: Clock) -> bool:
    """Trigger the DAG, show how it goes and what came of it; return whether it succeeded."""
    run_id = airflow.trigger(DAG_ID, {"folder": f"file://{OUTPUT}"})
    clock.say(f"triggered {DAG_ID}, run {run_id}")
    state = watch(airflow, DAG_ID, run_id, clock.say, RUN_TIMEOUT)
    clock.say(f"run {state}")
    if state != "success":
        print(failed_logs(airflow, DAG_ID, run_id), file=sys.stderr)
        return False
    return show_result(airflow, run_id, clock)


def show_result(airflow: LocalAirflow, run_id: str, clock: Clock) -> bool:
    """Print the XComs, and where the pictures are stored; return whether they are there."""
    xcoms = airflow.xcoms(DAG_ID, run_id)
    clock.say("XComs of each task:")
    print("\n".join(xcom_lines(xcoms)))
    pictures = stored_pictures(xcoms["wait", -1]["files"])
    for file, (width, height) in pictures.items():
        clock.say(f"stored picture of {width} x {height} pixels: {shown(file)}")
    clock.say(f"logs of Airflow, its tasks and the gateway: {shown(airflow.logs)}")
    clock.say("to look at it in Airflow's UI: make airflow")
    return bool(pictures)


def shown(path: Path) -> str:
    """Return a path as seen from the project's folder."""
    return f"./{path.relative_to(ROOT)}"


def main() -> int:
    """Run the demo; return 0 after a success, 1 after a failure of the run."""
    clock = Clock()
    with ending_in_order(clock.say):
        succeeded = demo(clock)
    clock.say("done; every process has ended" if succeeded else "failed: see the log above")
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
