"""The committed pins are those of ``pyproject.toml``, and tell no addresses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from dev.matrix.cells import CELLS, PINS, Cell, chosen
from dev.matrix.pins import UPDATED, options, requirements
from dev.matrix.steps import pinned
from dev.release_closure import required

EACH = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
LINE = re.compile(r"[a-z0-9.-]+==[A-Za-z0-9.+]+ ; python_full_version [^@:]+")
YANKED = {"requests": "2.32.2"}
"""The lowest version of the bound that was not withdrawn."""


def versions(file: Path) -> dict[str, Version]:
    lines = [one.partition("==") for one in pinned(file)]
    return {canonicalize_name(name): Version(version) for name, _, version in lines}


def wanted() -> list[Requirement]:
    return [Requirement(one) for one in required()]


def test_each_cell_has_pins_and_no_pins_are_left_of_another() -> None:
    assert {file.name for file in PINS.iterdir()} == {cell.pins.name for cell in CELLS}


@EACH
def test_the_pins_are_versions_for_the_pythons_of_this_airflow_without_addresses(cell: Cell) -> None:
    lines = cell.pins.read_text().splitlines()
    assert len(lines) > 100
    assert [line for line in lines if not LINE.fullmatch(line)] == []


@EACH
def test_the_pins_hold_this_airflow_and_all_that_the_package_depends_on(cell: Cell) -> None:
    found = versions(cell.pins)
    assert found["apache-airflow"] == Version(cell.airflow)
    bad = [one for one in wanted() if not one.specifier.contains(found[one.name])]
    assert bad == [], "make pins"


def test_the_lowest_cell_has_the_lowest_version_of_each_dependency() -> None:
    (cell,) = chosen(["lowest"])
    found = versions(cell.pins)
    lowest = {
        one.name: YANKED.get(one.name, bound.version)
        for one in wanted()
        for bound in one.specifier
        if bound.operator == ">="
    }
    assert len(lowest) == len(wanted())
    assert {name: str(found[name]) for name in lowest} == lowest, "make pins"


def test_airflow_is_pinned_exactly_and_what_is_asked_for_only_on_its_pythons() -> None:
    (cell,) = chosen(["3.1"])
    assert requirements(cell, ["apache-airflow>=2.11.0", "yarl>=1.17.0"]) == [
        "apache-airflow==3.1.8 ; python_version < '3.14'",
        "yarl>=1.17.0 ; python_version < '3.14'",
    ]


def test_only_where_users_must_update_them_may_providers_be_newer_than_airflow() -> None:
    by_name = {cell.name: options(cell) for cell in CELLS}
    updated = {name for name, given in by_name.items() if "--exclude-newer-package" in given}
    assert updated == {"lowest", "3.0"}
    assert [one for one in by_name["3.0"] if "=" in one] == [f"{n}=2026-04-15" for n in UPDATED]
    assert [name for name, given in by_name.items() if "lowest-direct" in given] == ["lowest"]
