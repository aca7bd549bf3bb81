"""A prediction that a filter refuses, and an edit that does without its picture."""

from airflow.sdk import dag

from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO, STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator

REFUSED = {"prompt": "a cat", "sandbox": {"fail": "NSFW content detected", "processing": 0}}


@dag(schedule=None)
def skipped():
    draft = QuickRouterRunPredictionOperator(
        task_id="draft", version=STABLE_DIFFUSION, input=REFUSED, on_moderation="skip"
    )
    QuickRouterRunPredictionOperator(
        task_id="edited",
        model=FLUX_KONTEXT_PRO,
        input={"prompt": "a dog", "input_image": draft.output["file"]},
        trigger_rule="none_failed",
    )


skipped()
