# Two commands on a fresh machine with Python 3.11 and pip: `make demo` and `make test`.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
JOBS ?= 2

# Worker processes share the cores: one thread each.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test test-slow lint types clean

help:
	@echo "make demo       build a knowledge base, train, evaluate and link, offline after pip"
	@echo "make test       lint, type check and run the tests"
	@echo "make test-slow  run the slow tests as well"
	@echo "make clean      remove the virtual environment and what the project made"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e ".[demo]"
	@touch $@

$(VENV)/.dev: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(VENV)/.demo
	cd project && PATH="$(BIN):$$PATH" OMP_NUM_THREADS=2 $(BIN)/python -m spacy project run demo

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

test: lint types
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not gpu"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow and not gpu"

clean:
	rm -rf $(VENV) build *.egg-info project/assets project/corpus project/kb project/training project/metrics project/output
