"""The costs of a run: XCom, metrics, gallery and the sandbox's ledger agree."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_quickrouter.api.models import SDXL
from tests.plugins.conftest import Ask
from tests.plugins.costs_run import INPUTS, RUN, Costs


def test_xcom_metrics_gallery_and_ledger_agree_to_the_cent(costs: Costs, pictures: Ask) -> None:
    in_xcom = [made["cost"] for made in costs.manifests]
    assert in_xcom == [entry["cost"] for entry in costs.ledger]
    assert [cost > 0 for cost in in_xcom] == [True, True, False, True, True, True]
    total = float(sum(Decimal(str(cost)) for cost in in_xcom))
    assert costs.total == total
    assert pictures(RUN).json()["cost"] == total
    assert sum(costs.metrics.values()) == pytest.approx(total, abs=1e-8)
    assert costs.metrics["stability-ai/stable-diffusion"] == pytest.approx(0.12)


def test_the_sum_is_that_of_the_shown_cards(costs: Costs, pictures: Ask) -> None:
    failed = pictures(RUN, state="failed").json()
    shown = [made["cost"] for made in costs.manifests if made["error"]]
    assert [card["cost"] for card in failed["cards"]] == shown
    assert failed["cost"] == sum(shown)
    last = costs.manifests[-1]["cost"]
    assert INPUTS[-1][0] == SDXL
    assert pictures(RUN, task_id="wait", map_index=len(INPUTS) - 1).json()["cost"] == last


def test_without_prices_there_is_no_sum(pictures: Ask) -> None:
    answer = pictures("motley").json()
    assert answer["cost"] is None
    assert {card["cost"] for card in answer["cards"]} == {None}
