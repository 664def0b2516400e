# Needs make and Python 3.11 to 3.13. Everything else is installed into .venv and .stack in this folder.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell $(p) -c 'print("$(p)")' 2>/dev/null)))
SEED ?= 1
MINUTES ?= 60
# cpu installs torch without CUDA (0.2 GB instead of 4.5), from PyTorch's own index; empty goes back to CUDA. The last choice is kept.
TORCH_BACKEND ?= $(shell cat $(DIST)/torch-backend 2>/dev/null)
EXTRAS ?= # text: also reads the captions' words
JOBS ?= 3# test processes, for two cores, since tests often wait; each starts its own stack and takes up to 3 GB
PYTEST_ARGS ?=
BENCH_ARGS ?=
# The chaos scenarios, and those that take too long for `make test` even in their short form.
SCENARIOS := $(patsubst %,tests/chaos/test_%.py,kills steps zombies brokers store database disk_full repeats scaling poison hostile priority \
  replay)
# Tests that take minutes each and rarely break.
SLOW := $(patsubst %,tests/%.py,cli/test_demo_ends cli/test_demo_ui devstack/test_clones devstack/test_stack_lifecycle inference/test_compile \
  inference/test_compile_cache inference/test_parity_of_spans inference/test_sample inference/test_variants service/test_commands \
  service/test_documented_rights service/test_few_descriptors service/test_first_records service/test_forgotten_runs service/test_hostile_files \
  service/test_killed_coordinator service/test_killed_mid_run service/test_replay service/test_runbook service/test_standing_orders \
  service/test_stopping) \
  $(sort $(wildcard tests/service/test_existing_tables*.py))
LONG := $(filter-out %test_kills.py,$(SCENARIOS)) $(SLOW)

BIN := .venv/bin
DIST := .stack/dist
UV := $(BIN)/uv
export UV_NO_PROGRESS ?= 1
# Some machines set it. Without cached bytecode each of the many processes that start here would compile everything again, for two seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup setup-film demo demo-ui test test-slow test-fast chaos chaos-short soak check format train-builtin bench bench-film images screenshots dashboards lock clean clean-stacks clean-all

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/python.stamp $(DIST)/kafka.stamp $(DIST)/postgrest.stamp $(DIST)/examples.stamp $(EXTRAS:%=.venv/%.stamp) ## Install everything into this folder; does nothing the second time
	@echo "ready: $(BIN)/extents --help"

setup-film: $(DIST)/film.stamp $(EXTRAS:%=.venv/film-%.stamp) ## Install only what find, crop, encode, predict, show, report and strips need: no torch, Kafka, Java or PostgreSQL
	@echo "ready: $(BIN)/extents find film.mp4"

demo: setup ## Make a captioned film, run it through the service on this machine, and check the result
	@$(BIN)/extents demo

demo-ui: setup ## The same with the live page, which is left open to look at until Ctrl-C
	@$(BIN)/extents demo --ui

test: setup $(DIST)/axe.stamp $(DIST)/chromium.stamp $(DIST)/prometheus.stamp ## Run all tests, including short chaos scenarios
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(LONG:%=--ignore=%) $(PYTEST_ARGS)

test-slow: setup ## Run the tests that take minutes each: kills at every step, replays, the runbook, existing tables, workers that stop, compiled networks, precisions
	@$(BIN)/pytest --numprocesses 2 --dist loadfile $(SLOW) $(PYTEST_ARGS)

test-fast: setup ## Run the tests that need no broker, store, database or network (under a minute on two idle cores)
	@$(BIN)/pytest --numprocesses 2 --fast tests $(PYTEST_ARGS)

chaos-short: setup ## Run every chaos scenario in its short form on one broker (a minute or two each)
	@$(BIN)/pytest $(SCENARIOS) $(PYTEST_ARGS)

chaos: setup ## Run every chaos scenario in full on three brokers, with SEED=n, and verify all results (under 40 minutes)
	@$(BIN)/pytest tests/chaos --chaos=$(SEED) $(PYTEST_ARGS)

soak: setup ## Load the service steadily for MINUTES=n (60) and check that memory, descriptors and threads do not grow
	@$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES)

check: setup ## Check format, lint, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code and apply lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

images: setup ## Draw the README's picture of the demo
	@$(BIN)/python -m tools.demo_picture

SHOWN := $(patsubst %,tests/%.py,pages/test_page_states pages/test_comparison_in_browser pages/test_report_in_browser service/test_scraped)
screenshots: setup $(DIST)/axe.stamp $(DIST)/chromium.stamp $(DIST)/prometheus.stamp ## Take the documentation's pictures of pages and dashboards
	@EXTENTS_SCREENSHOTS=docs/images $(BIN)/pytest -q $(SHOWN) $(PYTEST_ARGS)

train-builtin: setup ## Retrain the built-in model
	@$(BIN)/python -m training

bench-film: setup .venv/text.stamp ## Benchmark `extents find` on a film of ten minutes (BENCH_ARGS="--minutes 2" is shorter); CLIPS=folder adds clips
	@$(BIN)/python -m benchmarks.film $(CLIPS) $(BENCH_ARGS)

bench: setup .venv/bench.stamp ## Benchmark this machine, including ONNX Runtime and OpenVINO (about ten minutes)
	@$(BIN)/python -m benchmarks

dashboards: setup ## Make Grafana's dashboards, Prometheus' rules and the page of alerts (RUNBOOK_URL=where that is published)
	@RUNBOOK_URL="$(RUNBOOK_URL)" $(BIN)/python -m tools.dashboards

lock: setup ## Resolve all dependencies again and write their hashes
	$(UV) pip compile $(COMPILE) pyproject.toml -o requirements/dev.lock
	$(UV) pip compile $(RESOLVE) --extra bench --constraints requirements/dev.lock pyproject.toml -o requirements/bench.lock
	$(UV) pip compile $(RESOLVE) --constraints requirements/dev.lock requirements/film.in -o requirements/film.lock
	$(UV) pip compile $(RESOLVE) --constraints requirements/dev.lock requirements/text.in -o requirements/text.lock
	grep -o '^uv==[^ ]*' requirements/dev.lock | $(UV) pip compile $(RESOLVE) --no-annotate - -o requirements/uv.lock
	$(BIN)/python -m devstack.fetch --relock
	for folder in postgrest examples axe; do (cd requirements/$$folder && "$(CURDIR)/$(BIN)/npm" install --package-lock-only $(NPM_OPTIONS)); done

clean: ## Delete caches
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-stacks: ## Stop every embedded stack and delete its data
	@for folder in .stack/*/stack.json; do \
	  [ -e "$$folder" ] || continue; \
	  $(BIN)/extents dev down --purge --name "$$(basename "$$(dirname "$$folder")")"; \
	done

clean-all: clean clean-stacks ## Also delete everything that setup installed
	rm -rf .venv .stack

# The steps of setup. Each leaves a stamp file, and runs again when one of its inputs is newer.

RESOLVE = --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header
COMPILE = $(RESOLVE) --extra inference --extra stack --extra tracing --group dev
NPM_OPTIONS = --silent --ignore-scripts --no-audit --no-fund

.venv/uv.stamp: requirements/uv.lock
	@$(if $(PYTHON),,echo "no python3 found: install Python 3.11, 3.12 or 3.13" >&2; exit 1)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and f"{sys.executable} is Python {v[0]}.{v[1]}; 3.11 to 3.13 is required: make PYTHON=python3.11")'
	@mkdir -p $(DIST)
	@echo "setup 1/4: virtual environment in .venv"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/uv.lock
	@touch $@

.venv/python.stamp: .venv/uv.stamp requirements/dev.lock pyproject.toml $(DIST)/torch-backend
	@echo "setup 2/4: Python packages (4.5 GB of them torch for CUDA; make setup TORCH_BACKEND=cpu avoids it)"
ifeq ($(TORCH_BACKEND),)
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.lock
else
	@$(UV) pip compile $(COMPILE) --torch-backend $(TORCH_BACKEND) --constraints requirements/dev.lock pyproject.toml -o $(DIST)/dev.lock
	@$(UV) pip sync --quiet --python $(BIN)/python --torch-backend $(TORCH_BACKEND) --require-hashes $(DIST)/dev.lock
endif
	@$(UV) pip install --quiet --python $(BIN)/python --offline --no-build-isolation --no-deps --editable .
	@rm -f .venv/film-*.stamp
	@touch $@

# Does nothing if setup has installed everything already.
$(DIST)/film.stamp: .venv/uv.stamp requirements/film.lock pyproject.toml
	@[ -e .venv/python.stamp ] || { mkdir -p $(DIST) && echo "Python packages for films (0.3 GB)"; \
	  $(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/film.lock && \
	  $(UV) pip install --quiet --python $(BIN)/python --offline --no-build-isolation --no-deps --editable .; }
	@touch $@

# Added to what setup installed; the next change of dev.lock removes it again.
.venv/bench.stamp: .venv/python.stamp requirements/bench.lock
	@echo "bench: ONNX Runtime and OpenVINO"
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/bench.lock
	@touch $@

# Reading captions: RapidOCR with its networks, and ONNX Runtime.
.venv/text.stamp: .venv/python.stamp requirements/text.lock
.venv/film-text.stamp: $(DIST)/film.stamp requirements/text.lock
.venv/text.stamp .venv/film-text.stamp:
	@echo "text: RapidOCR and ONNX Runtime"
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/text.lock
	@touch $@

# Traces: dev.lock has all of it already, since tests need it.
.venv/tracing.stamp: .venv/python.stamp
	@touch $@

$(DIST)/kafka.stamp: .venv/python.stamp requirements/kafka.lock.toml
	@echo "setup 3/4: Apache Kafka (43 MB)"
	@$(BIN)/python -m devstack.fetch
	@touch $@

# PostgREST for the stack, and a Kafka client for the examples that are not in Python.
$(DIST)/%.stamp: .venv/python.stamp requirements/%/package-lock.json
	@echo "setup 4/4: npm packages for $* (17 MB in all)"
	@mkdir -p $(DIST)/$*
	@cp requirements/$*/package.json requirements/$*/package-lock.json $(DIST)/$*/
	@cd $(DIST)/$* && "$(CURDIR)/$(BIN)/npm" ci $(NPM_OPTIONS)
	@touch $@

# Debian packages that tests need: a browser, and Prometheus with promtool. Their tests are skipped on a machine without apt-get, or without
# root; elsewhere they fail when the package is missing. After a failed attempt the next `make test` tries again.

$(DIST)/chromium.stamp: .venv/python.stamp
	@if command -v chromium >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] || { \
	  echo "test: Chromium, by apt-get"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; }; \
	  then touch $@; else echo "test: Chromium could not be installed, so its tests will fail" >&2; fi

# Unpacked and not installed: the package would start a server on this machine.
$(DIST)/prometheus.stamp: .venv/python.stamp
	@mkdir -p $(DIST)/prometheus
	@if ! command -v apt-get >/dev/null || { \
	  echo "test: Prometheus, by apt-get"; \
	  { [ "$$(id -u)" != 0 ] || apt-get update -qq; } && (cd $(DIST)/prometheus && \
	    apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb); }; \
	  then touch $@; else echo "test: Prometheus could not be fetched; its tests are skipped without root, and fail with it" >&2; fi

# Contains the requested backend; its time changes only when the backend does.
$(DIST)/torch-backend: FORCE
	@mkdir -p $(DIST)
	@[ "$$(cat $@ 2>/dev/null)" = "$(TORCH_BACKEND)" ] && [ -e $@ ] || echo "$(TORCH_BACKEND)" > $@

.PHONY: FORCE
FORCE:
