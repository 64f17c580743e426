# The README's commands are `make quick` and `make test`; each sets everything up by itself.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export REGUNLEARN_CACHE ?= $(CURDIR)/.cache
RUN ?= runs/quick

.PHONY: install quick publish test check lint types bench drill clean
.DEFAULT_GOAL := help

help:
	@echo "make quick    all methods on the quick tasks, then the leaderboard (under 10 minutes on two cores, the set-up included)"
	@echo "make test     the test suite, no network needed after the install"
	@echo "make check    lint, types and tests"
	@echo "make bench    the engine against hand-written loops"
	@echo "make drill    a hundred faults at random moments; count records lost, doubled, wrong (build/drill.json)"
	@echo "make publish  run into results/quick and rebuild all committed tables, figures and pages"

install: $(READY)

# torch and torchvision come together from one index: a CPU-only torch beside another torchvision fails at import.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

quick: $(READY)
	$(BIN)/regunlearn data get
	$(BIN)/regunlearn run --suite quick --timed --timed-seeds 1 --out $(RUN)
	$(BIN)/regunlearn leaderboard --results $(RUN) --out $(RUN)/leaderboard

publish: RUN := results/quick
publish: $(READY)
	$(BIN)/regunlearn data get
	$(BIN)/regunlearn run --suite quick --timed --out results/quick
	$(BIN)/regunlearn leaderboard

test: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow" -p no:benchmark tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/python scripts/link_for_type_checkers.py
	$(BIN)/mypy

check: lint types test

bench: $(READY)
	mkdir -p build
	$(BIN)/python -m pytest -q -s tests/bench --benchmark-only --benchmark-json=build/bench.json

drill: $(READY)
	$(BIN)/python -m pytest -q -m slow -p no:benchmark tests

clean:
	rm -rf build dist runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
