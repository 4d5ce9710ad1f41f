# run · test · lint · bench: the only commands a newcomer needs; publish and compare-… are for releases,
# fuzz for those who change what reads a file.
SHELL := /bin/bash
VENV := .venv
VERSIONS := .venv-versions
PY := $(VENV)/bin/python
PYTHON ?= python3.11
RUN_ARGS ?=
BENCH_ARGS ?=
SCALE_ARGS ?=
FUZZ_SECONDS ?= 60
MODES_SHARD ?= 1/100

PUBLISHED := reports/published/report.json.gz

.PHONY: run test lint bench publish clean

# What differs from the published report is said, and fails nothing: the ledger has the verdict.
run: $(VENV)/.ready  ## every case, through the three real frameworks; then what differs from the published
	$(PY) -m conformance run -o reports/latest $(RUN_ARGS); code=$$?; \
	if [ -z '$(RUN_ARGS)' ] && [ $$code -le 1 ]; then \
		$(PY) -m conformance compare $(PUBLISHED) reports/latest/report.json.gz || true; fi; exit $$code

publish: $(VENV)/.ready  ## make the last run the published report
	$(PY) -m conformance report reports/latest/run.jsonl --format json -o $(PUBLISHED)
	$(PY) -m conformance report $(PUBLISHED) --format markdown -o reports/published/README.md
	$(PY) -m conformance report $(PUBLISHED) --format badges -o reports/published/badges

test: lint run  ## lint, types, the conformance job itself, and the project's own tests
	$(PY) -m conformance audit
	$(PY) -m pytest -q -n 2

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m conformance check

bench: $(VENV)/.ready  ## our wall time over a bare loop's, growth, start-up; BENCH_ARGS=--quick takes a minute
	$(PY) -m tests.bench $(BENCH_ARGS)

.PHONY: scale
scale: $(VENV)/.ready  ## how a run grows to a million cases, without a framework; SCALE_ARGS='--largest 1000000'
	$(PY) -m tests.scale $(SCALE_ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.fuzz  ## malformed files for every loader, guided by coverage; FUZZ_SECONDS for all of them together
	$(PY) -m tests.fuzz --seconds $(FUZZ_SECONDS)

# The run of old versions is not what the ledger speaks of, so it exits with 1; anything else is a fault.
.PHONY: compare-versions
compare-versions: $(VENV)/.ready $(VERSIONS)/.ready reports/latest/run.jsonl  ## what an upgrade changed
	$(PY) -m conformance run --no-site -o reports/versions/old --backend paddle=$(VERSIONS)/bin/python \
		--backend mindspore=$(VERSIONS)/bin/python || test $$? -eq 1
	$(PY) -m conformance compare reports/versions/old/run.jsonl reports/latest/run.jsonl \
		--format markdown -o reports/published/versions.md || test $$? -eq 1
	$(PY) -m conformance compare reports/versions/old/run.jsonl reports/latest/run.jsonl \
		--format html -o reports/versions || test $$? -eq 1

# A part of the suite, for compiling a call takes seconds; larger with MODES_SHARD=1/20.
.PHONY: compare-modes
compare-modes: $(VENV)/.ready  ## what compiling changes: a sample in eager mode and in the modes that compile
	$(PY) -m conformance run --no-site -o reports/modes/eager --shard $(MODES_SHARD) || test $$? -eq 1
	$(PY) -m conformance run --no-site -o reports/modes/compiled --shard $(MODES_SHARD) \
		--backend torch:compile --backend paddle:to_static --backend mindspore:graph || test $$? -eq 1
	$(PY) -m conformance compare reports/modes/eager/run.jsonl reports/modes/compiled/run.jsonl \
		--format markdown -o reports/published/modes.md || test $$? -eq 1
	$(PY) -m conformance compare reports/modes/eager/run.jsonl reports/modes/compiled/run.jsonl \
		--format html -o reports/modes || test $$? -eq 1

reports/latest/run.jsonl: | $(VENV)/.ready
	$(PY) -m conformance run -o reports/latest || test $$? -eq 1

$(VERSIONS)/.ready: constraints-versions.txt
	$(PYTHON) -m venv $(VERSIONS)
	$(VERSIONS)/bin/python -m pip install -q -r constraints-versions.txt
	touch $@

$(VENV)/.ready: pyproject.toml constraints.txt docs/jax/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -c constraints.txt -e '.[all,dev]' -e docs/jax
	touch $@

$(VENV)/.fuzz: $(VENV)/.ready
	$(PY) -m pip install -q -c constraints.txt -e '.[fuzz]'
	touch $@

clean:
	rm -rf $(VENV) $(VERSIONS) build dist *.egg-info reports/latest reports/versions reports/modes
