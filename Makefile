# `make` lists the targets. Every target brings its own environment: see infra/setup/README.md.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup pilot test lint site lock clean

# Threads that wait spin by default; beside one busy core that makes llama.cpp 25 times slower.
export OMP_WAIT_POLICY ?= passive

# Fast folders come first, the platform and whole runs last (tests/conftest.py says what stays in one process); a new folder stands in
# between without a change here.
TEST_FOLDERS := $(filter-out %/__pycache__,$(patsubst %/,%,$(wildcard tests/*/)))
FIRST := tests/unit tests/store
LAST := tests/flows tests/e2e
TESTS ?= $(filter $(TEST_FOLDERS),$(FIRST)) $(filter-out $(FIRST) $(LAST),$(TEST_FOLDERS)) $(filter $(TEST_FOLDERS),$(LAST))
AT_ONCE ?= -n logical --maxprocesses 4 --no-loadscope-reorder

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv what requirements.lock says; does nothing where it is
	@python="$$(sh infra/setup/python.sh)" && exec "$$python" infra/setup/environment.py

pilot: setup ## the whole playbook on a small real model, from baseline to a verified hand-off package
	@.venv/bin/quantplay pilot

test: setup ## every test; choose with TESTS="tests/unit tests/store"
	@.venv/bin/python -m pytest $(AT_ONCE) $(TESTS)

lint: setup ## ruff, pyright and the import contracts
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/pyright
	@.venv/bin/lint-imports

site: setup ## the documents, with a reference from the code, as a site in build/site
	@.venv/bin/python infra/site/build.py

lock: setup ## choose new versions within pyproject's ranges and write requirements.lock
	@.venv/bin/python infra/setup/lock.py

clean: ## remove .venv and what tools left in this folder; your database, artifacts and wheels stay
	@rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
