"""The bill of materials: what a user of the wheel runs, and nothing of the workshop."""

from __future__ import annotations

import json

import pytest

from airflow_provider_quickrouter import __version__
from dev.release_closure import closure, pins, required
from dev.sbom import Bill, check, make

pytestmark = pytest.mark.slow("resolves all dependencies, as a release does")


@pytest.fixture(scope="module")
def bill() -> Bill:
    return make()


def test_it_names_all_that_runs_and_nothing_else(bill: Bill) -> None:
    named = [f"{one['name'].lower().replace('_', '-')}" for one in bill["components"]]
    assert len(named) == len(set(named)) == len(closure(required()))
    assert {"apache-airflow", "aiohttp", "yarl"} <= set(named)
    assert not {"pytest", "ruff", "moto", "airflow-provider-quickrouter"} & set(named)


def test_it_is_about_this_version_of_the_package(bill: Bill) -> None:
    subject = bill["metadata"]["component"]
    assert subject["purl"] == f"pkg:pypi/airflow-provider-quickrouter@{__version__}"
    assert subject["licenses"][0]["license"]["id"] == "Apache-2.0"


def test_each_material_has_version_and_address(bill: Bill) -> None:
    versions = {one["purl"].partition("pypi/")[2].replace("@", "==") for one in bill["components"]}
    assert {pin.lower() for pin in pins(closure(required()))} == {one.lower() for one in versions}


def test_what_needs_what_leads_from_the_package_to_all(bill: Bill) -> None:
    needs = {edge["ref"]: edge["dependsOn"] for edge in bill["dependencies"]}
    reached, waiting = set[str](), [bill["metadata"]["component"]["bom-ref"]]
    while waiting:
        if (ref := waiting.pop()) not in reached:
            reached.add(ref)
            waiting += needs[ref]
    assert reached == set(needs)
    assert len(needs) == len(bill["components"]) + 1


def test_it_tells_nothing_of_the_machine_and_is_equal_each_time(bill: Bill) -> None:
    text = json.dumps(bill)
    assert "file://" not in text
    assert "timestamp" not in text
    assert "serialNumber" not in bill


def test_it_is_as_cyclonedx_has_it(bill: Bill) -> None:
    few = {"components": bill["components"][:3], "dependencies": bill["dependencies"][:1]}
    check(bill | few)  # of all of them it takes half a minute: make sbom does that
    with pytest.raises(ValueError, match="not a valid CycloneDX bill of materials"):
        check(bill | few | {"components": [{"name": "without a type"}]})
