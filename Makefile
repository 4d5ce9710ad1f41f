# run · test · lint · bench: the only commands a newcomer needs.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3.11
RUN_ARGS ?=

.PHONY: run test lint bench clean

run: $(VENV)/.ready  ## every case, through the three real frameworks
	$(PY) -m conformance run -o reports/latest $(RUN_ARGS)

test: lint run  ## lint, types, the conformance job itself, and the project's own tests
	$(PY) -m conformance audit
	$(PY) -m pytest -q -n 2

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m conformance check

bench: $(VENV)/.ready  ## ratios of our wall time to a bare loop over the same calls
	$(PY) -m tests.bench

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -c constraints.txt -e '.[all,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info reports/latest
