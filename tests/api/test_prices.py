"""What a prediction has cost, and what one that runs may cost at most."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_quickrouter.api.prediction import Prediction, amount_of
from airflow_provider_quickrouter.api.prices import Price, price_of, priced

BY_SECOND = Price(per_second=Decimal("0.0011"), max_seconds=Decimal(60))
BY_OUTPUT = Price(per_output=Decimal("0.04"))
RAN = {"started_at": "2026-11-01T00:00:01Z", "completed_at": "2026-11-01T00:00:05Z"}


def cost(price: Price, status: str = "succeeded", **body: Any) -> float | None:
    seen = Prediction.from_json({"id": "p1", "status": status, "model": "a/b", **body})
    return priced(seen, {"a/b": price}).cost


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_seconds_cost_however_the_prediction_ended(status: str) -> None:
    assert cost(BY_SECOND, status, metrics={"predict_time": 3.9}, **RAN) == 0.00429


@pytest.mark.parametrize(
    "body", [{"status": "aborted"}, {"status": "canceled", "completed_at": RAN["completed_at"]}]
)
def test_a_prediction_that_never_started_costs_nothing(body: dict[str, Any]) -> None:
    assert cost(BY_SECOND, **body) == 0.0
    assert cost(BY_OUTPUT, **body) == 0.0


@pytest.mark.parametrize("status", ["failed", "canceled", "aborted"])
def test_outputs_cost_only_if_there_are_any(status: str) -> None:
    assert cost(BY_OUTPUT, status, **RAN) == 0.0


@pytest.mark.parametrize(
    ("body", "amount"),
    [
        ({"output": "https://x/0.png"}, 0.04),
        ({"output": ["https://x/0.png", "https://x/1.png"]}, 0.08),
        ({"output": ["https://x/0.png"], "metrics": {"image_count": 3}}, 0.12),
        ({"output": ["https://x/0.png"], "metrics": {"image_count": "many"}}, 0.04),
        ({"output": None, "data_removed": True, "metrics": {"image_count": 3}}, 0.12),
    ],
)
def test_each_output_of_a_success_costs(body: dict[str, Any], amount: float) -> None:
    assert cost(BY_OUTPUT, **body) == amount


@pytest.mark.parametrize("seconds", [None, -1, "soon", float("nan"), float("inf"), True, 10**400, {}])
def test_a_time_that_is_none_makes_an_unknown_cost(seconds: Any) -> None:
    assert cost(BY_SECOND, metrics={"predict_time": seconds}) is None


def test_the_cost_is_unknown_while_it_runs_without_outputs_and_without_a_price() -> None:
    for price in (BY_SECOND, BY_OUTPUT):
        assert cost(price, "processing", metrics={"predict_time": 1}, output=["https://x/0.png"]) is None
    assert cost(BY_OUTPUT, data_removed=True) is None
    assert cost(BY_OUTPUT, model="c/d", output="https://x/0.png") is None


@pytest.mark.parametrize(
    "names",
    [
        {"model": "a/b", "version": "hidden"},
        {"model": None, "version": "a/b:" + "7" * 64},
        {"model": "sandbox/model", "deployment": "a/b"},
    ],
)
def test_the_price_is_found_by_model_version_or_deployment(names: dict[str, Any]) -> None:
    assert cost(BY_OUTPUT, output=["x"], **names) == 0.04


def test_the_price_of_a_deployment_comes_before_that_of_its_model() -> None:
    prices = {"a/b": BY_OUTPUT, "me/mine": BY_SECOND}
    assert price_of(prices, "me/mine", "a/b") is BY_SECOND
    assert price_of(prices, None, "a/b:1") is BY_OUTPUT
    assert price_of(prices, None, "") is None


def test_sums_agree_where_floats_do_not() -> None:
    assert sum([0.1] * 3) != 0.3
    third = Price(per_output=Decimal("0.1"))
    costs = [cost(third, output=["x"]) for _ in range(3)]
    assert sum(Decimal(str(each)) for each in costs) == Decimal("0.3")


@pytest.mark.parametrize(
    ("price", "given", "limit"),
    [
        (BY_SECOND, {}, "0.066"),
        (Price(per_second=Decimal("0.0011")), {}, None),
        (BY_OUTPUT, {}, "0.04"),
        (BY_OUTPUT, {"num_outputs": 4}, "0.16"),
        (BY_OUTPUT, {"num_outputs": "many"}, "0.04"),
        (Price(per_output=Decimal("0.04"), max_outputs=Decimal(3)), {"num_outputs": 4}, "0.12"),
        (Price(per_output=Decimal(0)), {}, "0"),
        (Price(per_second=Decimal(0), max_seconds=Decimal(1)), {}, "0"),
    ],
)
def test_a_price_limits_what_a_prediction_may_cost(price: Price, given: Any, limit: str | None) -> None:
    assert price.limit_of(given) == (None if limit is None else Decimal(limit))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"per_second": 1, "per_output": 1},
        {"max_seconds": 1},
        {"per_output": 1, "max_seconds": 1},
        {"per_second": 1, "max_outputs": 1},
        {"per_second": 1, "max_seconds": 0},
    ],
)
def test_a_price_has_one_unit(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Price(**fields)


@pytest.mark.parametrize(
    ("value", "amount"),
    [(0, 0.0), ("0.04", 0.04), (1e9, None), (-0.1, None), ("\ud83d", None), (None, None), (False, None)],
)
def test_an_amount_is_a_number_from_0_on(value: object, amount: float | None) -> None:
    assert amount_of(value) == amount


def test_a_cost_survives_the_way_through_a_manifest() -> None:
    seen = priced(Prediction.from_json({"id": "p1", "status": "failed", "model": "a/b"}), {"a/b": BY_OUTPUT})
    assert Prediction.from_json(seen.manifest("https://x")).cost == 0.0
