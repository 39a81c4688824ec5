# `make help` explains itself. Every target makes the environment first when it is missing.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## make the environment in .venv from the hash-pinned lock file

$(READY): requirements.lock pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 setup")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e client -e .
	@touch $(READY)

run: $(READY) ## run servers, workers, beat and Flower on this machine until Ctrl-C
	@exec $(BIN)/billing run --until-parent-ends

demo: $(READY) ## do the five jobs once, on real servers, and show what became of each
	@$(BIN)/billing demo

test: $(READY) ## run the test suite on its own servers
	@$(BIN)/pytest -m "not long"

# With a seed, that part of them: tests/seeds.py.
PART = TEST_LONG_SEED=$(SEED)
PART_OPTIONS = --randomly-seed $(SEED) --hypothesis-seed $(SEED)

test-long: $(READY) ## run the long suites; with SEED=N a part of them, for about a minute
	@$(if $(SEED),$(PART)) $(BIN)/pytest -m long --timeout 1800 \
	  $(if $(SEED),$(PART_OPTIONS),--numprocesses 0)

mutants: $(READY) ## change the product here and there, and list what no test notices; ARGS="--help"
	@$(BIN)/python -m tests.tools.mutants $(ARGS)

check: $(READY) ## lint, types, imports, documents, known vulnerabilities, tests
	@$(MAKE) --no-print-directory lint docs audit test

lint: $(READY) ## check lint, types and imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m docs.generate --check

audit: $(READY) ## look for known vulnerabilities of the lock's packages, where PyPI can be reached
	@$(BIN)/python -m tests.tools.audit

docs: $(READY) ## generate the reference pages and build the site in site/; a broken link is an error
	@$(BIN)/python -m docs.generate
	@NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --quiet

docs-serve: $(READY) ## show the site on http://127.0.0.1:8000 and follow changes until Ctrl-C
	@$(BIN)/mkdocs serve --dev-addr 127.0.0.1:8000

bench: $(READY) ## measure the throughput and print one table
	@$(BIN)/python -m bench

lock: ## pin the dependencies of pyproject.toml in requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra embedded --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-package billing-client --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links -o requirements.lock

.PHONY: help setup run demo test test-long mutants check lint audit docs docs-serve bench lock
