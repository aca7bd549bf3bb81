"""Which Airflows the matrix has, and on which Pythons each of them is run."""

from __future__ import annotations

import pytest

from dev.matrix.cells import CELLS, chosen


def test_every_airflow_that_the_package_is_for_has_a_cell_and_the_lowest_one_of_its_own() -> None:
    assert [cell.name for cell in CELLS] == ["lowest", "2.11", "3.0", "3.1", "3.2", "3.3"]
    for cell in CELLS[1:]:
        assert cell.airflow.startswith(f"{cell.name}.")
        assert not cell.lowest
    assert (CELLS[0].airflow, CELLS[0].lowest) == ("2.11.0", True)


def test_the_cells_chosen_come_in_the_matrixs_order_and_none_chosen_means_all() -> None:
    assert [cell.name for cell in chosen(["3.3", "lowest"])] == ["lowest", "3.3"]
    assert chosen([]) == CELLS


def test_a_cell_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no such cell: 4\.0; there are lowest, 2\.11, .*3\.3"):
        chosen(["3.3", "4.0"])


@pytest.mark.parametrize(
    ("name", "newest"), [("lowest", 12), ("2.11", 12), ("3.0", 12), ("3.1", 13), ("3.3", 14)]
)
def test_an_airflow_supports_the_pythons_from_311_to_the_newest_of_its_classifiers(
    name: str, newest: int
) -> None:
    (cell,) = chosen([name])
    supported = [minor for minor in range(9, 20) if cell.supports((3, minor))]
    assert supported == list(range(11, newest + 1))


def test_airflow_2_gets_the_one_executor_that_it_has_for_sqlite() -> None:
    executors = {cell.name: cell.executor for cell in chosen(["2.11", "3.0"])}
    assert executors == {"2.11": "SequentialExecutor", "3.0": "LocalExecutor"}
