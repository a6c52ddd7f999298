# `make drill` and `make test` do all set-up themselves; `make` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
# Without .pyc files every start of ansible costs half as much again.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(CURDIR)/.venv/bin
ON_PATH := PATH="$(BIN):$$PATH"
MODULES := $(basename $(notdir $(wildcard library/mend_*.py)))
# tests wait for servers a third of their time: four workers keep two processors busy, each with servers of its own and a
# row of neighbouring tests, which share what a file starts
PYTEST := $(ON_PATH) $(BIN)/pytest -q -n 4 --dist worksteal --durations=10
# Thousands of tests kill, cut and race real servers on processors that others use, too. One that fails is tried once
# more and both tries are shown; what fails twice, or after five such, is a failure.
SECOND_TRY := --reruns 1 --max-suite-reruns 5 --rerun-show-tracebacks

.PHONY: help drill test check format docs faults bench sandbox-environment dev-environment
.PHONY: check-format check-code check-types check-ansible check-modules check-contract

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

drill: sandbox-environment  ## back up a shop's MongoDB to S3, wreck it, restore and prove it; prints RTO and RPO
	@$(BIN)/mendbook drill restore_mongo

test: dev-environment  ## run every test, on ansible-core 2.19 and 2.21
	@tools/environments.sh collections; eval "$$(tools/environments.sh other-core)"; $(PYTEST) $(SECOND_TRY) tests $(ARGS)

# empty where `make test` follows, which has the contract tests, too
CONTRACT ?= check-contract

check: check-format check-code check-types check-ansible check-modules $(CONTRACT)  ## all that needs no server (-k: go on after a failure)

check-format: dev-environment
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }

check-code: dev-environment
	@$(BIN)/ruff check --quiet .

check-types: dev-environment
	@$(BIN)/mypy

check-ansible: dev-environment
	@$(ON_PATH) $(BIN)/python tools/lint_ansible.py

check-modules: dev-environment
	@$(if $(MODULES),ANSIBLE_CONFIG=ansible.cfg $(BIN)/ansible-doc --type module $(MODULES) >/dev/null)

check-contract: dev-environment
	@eval "$$(tools/environments.sh other-core)"; $(PYTEST) tests/contract $(ARGS)

format: dev-environment  ## format the code and sort its imports
	@$(BIN)/ruff check --quiet --select I --fix . && $(BIN)/ruff format --quiet .

docs: dev-environment  ## write the generated tables of README.md and docs/
	@$(BIN)/python tools/docs_tables.py

faults: dev-environment  ## the fault tests with their full counts; writes docs/reliability.md
	@eval "$$(tools/environments.sh other-core)"; MENDBOOK_FAULTS=full $(PYTEST) --timeout 3600 tests/faults $(ARGS)

bench: dev-environment  ## ratios against the usual tools, on data made on the spot
	@for bench in $(filter-out bench/estore_%.py,$(wildcard bench/*.py)); do $(ON_PATH) $(BIN)/python "$$bench" $(ARGS); done

sandbox-environment:
	@tools/environments.sh sandbox

dev-environment:
	@tools/environments.sh dev
