# GNU make 3.81 or newer. The first call makes .venv and installs; later calls only when pyproject.toml or
# constraints.txt changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help demo test test-arm fuzz lint lint-types lint-files docs install lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -e 's/:.*## /|/' | awk -F'|' '{ printf "  make %-9s %s\n", $$1, $$2 }'

demo: $(INSTALLED) ## export, simplify, quantize, check and benchmark rarn-s; files go to build/demo
	$(BIN)/rarn-edge run --model rarn-s --out build/demo

test: lint ## lint, types, workflow files, then all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

fuzz: $(INSTALLED) ## every reader of files from outside, a minute each
	$(BIN)/python tests/hostile/fuzz.py --seconds 60

test-arm: $(INSTALLED) ## the answers of an Arm core, emulated; needs root on Debian or Ubuntu (docs/guides/arm.md)
	PYTHON=$(abspath $(BIN)/python) tests/arm/run.sh

lint: $(INSTALLED) ## ruff, mypy, the recorded benchmarks, the docs, the workflow and release files; no network
	@$(MAKE) --no-print-directory -j 2 lint-types lint-files # mypy takes as long as all others, and prints once

lint-types:
	$(BIN)/mypy

lint-files:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python benchmarks/render.py --check
	$(BIN)/python docs/generate.py --check
	$(BIN)/python docs/build_site.py
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile; else echo "hadolint has no package for this machine: the Dockerfile is not linted"; fi
	$(BIN)/zizmor --offline --no-progress .github

docs: $(INSTALLED) ## the documentation as a site: build/site/index.html
	$(BIN)/python docs/build_site.py

install: $(INSTALLED) ## make .venv and install with the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "rarn-edge needs Python 3.11 or newer; found '$(PYTHON)' ($$($(PYTHON) --version 2>/dev/null || echo not installed)). Name another: make PYTHON=python3.12" >&2; \
		exit 1; }
	@echo "installing into $(VENV): some minutes without output; later calls skip it"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev,docs]"
	@touch $(INSTALLED)

lock: ## write constraints.txt anew from the newest versions that pip finds
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[all,dev,docs,release]"
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools > $(VENV)/frozen.txt
	{ head -n 1 constraints.txt && sed -e 's/+[a-z0-9.]*$$//' $(VENV)/frozen.txt; } > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt
	@touch $(INSTALLED)

clean: ## remove .venv and everything built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
