"""Functions that return inputs: one, a list of them, expanded ones, and one with a file."""

from airflow.sdk import ObjectStoragePath, dag, task

from airflow_provider_quickrouter.api.models import SD_IMG2IMG, STABLE_DIFFUSION


@dag(schedule=None, params={"file": "file:///tmp/cat.png"})
def decorated():
    @task.quickrouter(version=STABLE_DIFFUSION, mapped=True, deferrable=True, poll_interval=1)
    def animals() -> list[dict]:
        return [{"prompt": f"a {name}"} for name in ("cat", "dog")]

    @task.quickrouter(version=STABLE_DIFFUSION, wait=False)
    def ship(name: str, kind: str) -> dict:
        return {"prompt": f"a {kind} named {name}"}

    @task.quickrouter(version=SD_IMG2IMG, deferrable=True, poll_interval=1)
    def repaint(outputs: list[list[str]], params: dict) -> dict:
        return {"image": ObjectStoragePath(params["file"]), "prompt": f"{len(outputs)} animals"}

    @task.skip_if(lambda context: True)
    @task.quickrouter(version=STABLE_DIFFUSION, mapped=True)
    def nothing() -> list[dict]:
        raise ValueError("skip_if decides before the function is called")

    nothing()
    ship.partial(kind="yacht").expand(name=["Ada", "Grace"])
    repaint(animals())


decorated()
