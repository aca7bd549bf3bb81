"""What predictions cost, by the prices in the connection: the API returns no amounts.

Amounts are in the unit of these prices, rounded to eight decimal places, which a float holds exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus, amount_of

_Amount = Annotated[Decimal, Field(ge=0, lt=10**6, allow_inf_nan=False)]
_Most = Annotated[Decimal, Field(gt=0, lt=10**6, allow_inf_nan=False)]


class Price(BaseModel):
    """The price of a model: ``per_second`` of its run, or ``per_output``.

    ``max_seconds`` and ``max_outputs`` are the most of one prediction, and so limit what it may cost.
    Without ``max_outputs`` the input's ``num_outputs`` counts, or else 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_second: _Amount | None = None
    max_seconds: _Most | None = None
    per_output: _Amount | None = None
    max_outputs: _Most | None = None

    @model_validator(mode="after")
    def _has_one_unit(self) -> Self:
        others = self.max_outputs if self.per_output is None else self.max_seconds
        if (self.per_second is None) == (self.per_output is None) or others:
            raise ValueError
        return self

    def cost_of(self, prediction: Prediction) -> Decimal | None:
        """Return what a prediction has cost; None if it runs, or if its seconds or outputs are unknown.

        Seconds are billed however it ended, outputs only of a success.
        """
        if not prediction.status.terminal:
            return None
        if prediction.status is PredictionStatus.SUCCEEDED and self.per_output is not None:
            # Without any output it is not known how many there were: the API may have deleted them.
            outputs = amount_of(prediction.metrics.get("image_count")) or len(prediction.items) or None
            return _product(self.per_output, outputs)
        started = prediction.started_at or not prediction.completed_at
        if self.per_output is not None or prediction.status is PredictionStatus.ABORTED or not started:
            return Decimal(0)
        return _product(self.per_second, prediction.metrics.get("predict_time"))

    def limit_of(self, given: Mapping[str, Any]) -> Decimal | None:
        """Return the most that a prediction with this input may cost; None if that is unknown."""
        if self.per_output is None:
            return _product(self.per_second, self.max_seconds)
        return _product(self.per_output, self.max_outputs or amount_of(given.get("num_outputs")) or 1)


def price_of(prices: Mapping[str, Price], *names: str | None) -> Price | None:
    """Return the price of the first model or deployment that has one; versions after a colon are ignored."""
    models = ((name or "").partition(":")[0] for name in names)
    return next((prices[model] for model in models if model in prices), None)


def priced(prediction: Prediction, prices: Mapping[str, Price]) -> Prediction:
    """Return a prediction with its cost."""
    price = price_of(prices, prediction.deployment, prediction.model, prediction.version)
    cost = price.cost_of(prediction) if price else None
    return replace(prediction, cost=None if cost is None else float(cost))


def _product(price: Decimal | None, number: object) -> Decimal | None:
    amount = amount_of(number)
    return None if price is None or amount is None else round(price * Decimal(str(amount)), 8)
