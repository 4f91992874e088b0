# `make demo` and `make test` do all their own set-up; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= run/demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format bench clean

help:  ## Say what there is to make.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed-demo  ## Distil a real student from two real teachers on two CPU cores.
	HF_HUB_OFFLINE=1 $(BIN)/pipe run --recipe laptop --run $(RUN)

test: $(VENV)/.installed-dev  ## Run the tests.
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed-dev  ## Run the tests that take minutes.
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-dev  ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev  ## Run every benchmark, quickly.
	$(BIN)/python -m benchmarks.loss --quick
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.teach --quick
	$(BIN)/python -m benchmarks.store --quick --peers all

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than Python 3.11; set PYTHON, e.g. make PYTHON=python3.12 $(MAKECMDGOALS)"; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed-demo

clean:  ## Remove the environment and the caches; runs stay.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
