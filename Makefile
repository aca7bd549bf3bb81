# Everything runs in .venv, which is created when it is needed. Only Python 3.11+ and make are required.

PYTHON ?= python3
SEED ?= 1
TASKS ?= 200
AIRFLOW ?=
PYTHONS ?= $(BIN)/python
CELLS ?=
UV_VERSION := 0.13.9
AIRFLOW_VERSION := 3.3.2

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := .venv-bench
BENCH_READY := $(BENCH)/.ready
COVERAGE := $(BIN)/coverage report --show-missing --skip-covered

.DEFAULT_GOAL := help
.PHONY: help demo airflow test slow test-all browser docs chaos distributed matrix benchmark bench lint check format live pins sbom fixture build clean

help: ## list all commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1	/' | expand -t 13

demo: $(READY) ## run a DAG on a real Airflow against the sandbox, in about a minute
	$(BIN)/python -m dev.demo

airflow: $(READY) ## run Airflow with the example DAGs and the sandbox until Ctrl-C
	$(BIN)/python -m dev.up

# Four processes for two cores, since most tests wait for a server.
test: $(READY) ## run the tests, DAGs on a real Airflow included, and check the coverage (5 minutes)
	$(BIN)/python -m pytest -n 4 --dist loadgroup --cov --cov-branch --cov-report=
	$(COVERAGE) --include="$$($(BIN)/python -m tests.pure_modules)" --fail-under=100
	$(COVERAGE) --fail-under=90

slow: $(READY) ## run the slow tests only: Chromium, PostgreSQL, more than one Airflow
	$(BIN)/python -m pytest -n 2 --dist loadgroup --slow -m slow

test-all: test slow ## run all tests

browser: $(READY) ## open the gallery in Chromium and take the screenshots of the docs
	$(BIN)/python -m dev.browser

docs: $(READY) ## build the documentation in build/docs; a warning is an error
	$(BIN)/sphinx-build --quiet -W --keep-going -n -b html docs build/docs
	@echo "the documentation: build/docs/index.html"

chaos: $(READY) ## run TASKS=200 tasks with faults and kills of SEED=1, and compare what was paid; AIRFLOW=2.11
	$(BIN)/python -m tests.chaos --seed $(SEED) --tasks $(TASKS) $(if $(AIRFLOW),--airflow $(AIRFLOW))

distributed: TASKS = 300
distributed: $(READY) ## TASKS=300 tasks on Celery, with kills of workers, triggerers, schedulers and Redis
	$(BIN)/python -m tests.distributed --seed $(SEED) --tasks $(TASKS)

matrix: $(READY) ## test the wheel on each CELLS="2.11 3.0 ..." of Airflow with each of PYTHONS="python3.11 ..."
	$(BIN)/python -m dev.matrix --pythons "$(PYTHONS)" $(CELLS)

benchmark: TASKS = 60
benchmark: $(READY) ## compare with the HTTP provider: TASKS=60 each, with the same faults and kills of SEED=1
	$(BIN)/python -m benchmarks --seed $(SEED) --tasks $(TASKS)

bench: $(BENCH_READY) ## measure waits, schedules, worker time, batches and imports next to other providers, two hours
	$(BENCH)/bin/python -m benchmarks.imports
	$(BENCH)/bin/python -m benchmarks.schedules
	$(BENCH)/bin/python -m benchmarks.curve
	$(BENCH)/bin/python -m benchmarks.crowd
	$(BENCH)/bin/python -m benchmarks.worker_seconds
	$(BENCH)/bin/python -m benchmarks.batch --mapped 100
	$(BENCH)/bin/python -m benchmarks.batch --kill --processing 15
	$(BENCH)/bin/python -m benchmarks.waits

lint: $(READY) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test ## run lint and tests

format: $(READY) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

live: $(READY) ## create a prediction on the real gateway with QUICKROUTER_API_KEY; costs money
	@test -n "$$QUICKROUTER_API_KEY" || { echo "set QUICKROUTER_API_KEY first"; exit 1; }
	$(BIN)/python -m dev.live

pins: $(READY) ## compile all pins from pyproject.toml; UPGRADE=--upgrade takes the newest versions
	echo "apache-airflow==$(AIRFLOW_VERSION)" | $(BIN)/uv pip compile --quiet --universal \
	  --python-version 3.11 --no-header --no-annotate \
	  $(UPGRADE) --extra sandbox --group dev -o requirements-dev.txt - pyproject.toml
	echo "apache-airflow==$(AIRFLOW_VERSION)" | $(BIN)/uv pip compile --quiet --universal \
	  --python-version 3.11 --no-header --no-annotate \
	  $(UPGRADE) --extra sandbox --group bench -o requirements-bench.txt - pyproject.toml
	$(BIN)/python -m dev.matrix.pins

sbom: $(READY) ## write the software bill of materials of the wheel in dist
	$(BIN)/python -m dev.sbom

fixture: $(READY) ## write what this version stores in Airflow's database to tests/triggers/releases
	$(BIN)/python -m dev.release_fixture

build: $(READY) ## build and check the source archive and the wheel in dist
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean: ## remove everything that these commands created
	rm -rf $(VENV) $(BENCH) .airflow build dist output .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# An existing folder .venv is used as it is.
$(READY): pyproject.toml requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements-dev.txt -e '.[sandbox]'
	@touch $@

# The providers for comparisons have an environment of their own.
$(BENCH_READY): pyproject.toml requirements-bench.txt | $(READY)
	test -x $(BENCH)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(BENCH)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BENCH)/bin/python -r requirements-bench.txt -e '.[sandbox]'
	@touch $@
