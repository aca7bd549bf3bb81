"""Our classes stand on Airflow's: a private name of ours must not hide one of theirs."""

from __future__ import annotations

import pytest

from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.links import FOLLOWERS, OPERATOR, STORE_OPERATOR, QuickRouterPredictionLink
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterBatchPredictionOperator,
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from airflow_provider_quickrouter.triggers.batch import QuickRouterBatchTrigger
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger

MEANT = {"_get_next_poke_interval"}


@pytest.mark.parametrize(
    "kind",
    [
        QuickRouterBatchPredictionOperator,
        QuickRouterBatchTrigger,
        QuickRouterHook,
        QuickRouterPredictionLink,
        QuickRouterPredictionSensor,
        QuickRouterPredictionTrigger,
        QuickRouterSubmitPredictionOperator,
    ],
)
def test_no_private_name_hides_one_of_airflows(kind: type) -> None:
    # With two underscores in it, it is Python's own, or one that belongs to a single class.
    own = {name for name in vars(kind) if name.startswith("_") and "__" not in name}
    theirs = set[str]()
    for base in kind.__mro__[1:]:
        theirs |= set(vars(base)) | set(vars(base).get("__annotations__", {}))
    assert own & theirs - MEANT - {"_abc_impl"} == set()


def test_the_class_names_that_others_know_are_those_of_the_classes() -> None:
    assert QuickRouterToObjectStorageOperator.__name__ == STORE_OPERATOR
    followers = (
        QuickRouterPredictionSensor,
        QuickRouterToObjectStorageOperator,
        QuickRouterBatchPredictionOperator,
    )
    for part, kind in zip(FOLLOWERS, followers, strict=True):
        assert part in kind.__name__
    creators = (QuickRouterSubmitPredictionOperator, QuickRouterRunPredictionOperator)
    assert not any(part in kind.__name__ for part in FOLLOWERS for kind in creators)
    assert all(kind.__name__.startswith(OPERATOR) for kind in (*followers, *creators))
