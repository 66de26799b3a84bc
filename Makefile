# The two commands are `make run` and `make test`. `make help` lists the others.

PYTHON ?= python3
PY := .venv/bin/python
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run test check bench vectors fuzz lock format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

run: .venv/run.stamp ## Install, start everything, run the main job once, and serve on http://127.0.0.1:8000
	@$(PY) -m ehc.dev

test: .venv/dev.stamp .venv/cwt.stamp .venv/soap.stamp ## Run every test, in parallel, on embedded PostgreSQL and Redis
	@$(PY) -m pytest -n $${EHC_TEST_WORKERS:-auto} --dist loadgroup $(ARGS)

check: .venv/dev.stamp ## Lint, types, layers, migrations against models
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -c "from importlinter.cli import lint_imports_command as lint; lint()"
	@$(PY) -m ehc.dev check-migrations

bench: .venv/run.stamp ## Measure against bare baselines; writes var/bench.json
	@$(PY) -m bench

vectors: .venv/dev.stamp ## Rebuild tests/vectors/codes.json; a difference is a change of the format
	@$(PY) -m tests.vectors.build

fuzz: .venv/fuzz.stamp ## Fuzz the decoder of codes with atheris (FUZZ_SECONDS=60)
	@$(PY) -m tests.fuzz.fuzz_codes -max_total_time=$${FUZZ_SECONDS:-60} -max_len=2048

lock: .venv/dev.stamp ## Pin requirements again, after a change of a requirements*.in
	@$(PY) -m pip install -q --disable-pip-version-check uv
	@for set in requirements requirements-demo requirements-dev requirements-fuzz requirements-cwt; do \
	  $(PY) -m uv pip compile -q --universal --python-version 3.11.2 --generate-hashes --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links $$set.in -o $$set.txt || exit 1; done

format: .venv/dev.stamp ## Format the code
	@$(PY) -m ruff check -q --fix-only .
	@$(PY) -m ruff format -q .

clean: ## Remove what was installed and every datum of the demo
	rm -rf .venv var

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "ehc needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { rm -rf .venv; echo "This Python cannot make a virtual environment: install its venv package (Debian: python3-venv)."; exit 1; }

.venv/run.stamp: requirements.txt requirements-demo.txt pyproject.toml | $(PY)
	@echo "Installing the pinned libraries into .venv (once, about a minute) …"
	@$(PIP_INSTALL) -r requirements.txt -r requirements-demo.txt
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: requirements-dev.txt .venv/run.stamp
	@echo "Installing what tests and checks need …"
	@$(PIP_INSTALL) -q -r requirements-dev.txt
	@touch $@

.venv/fuzz.stamp: requirements-fuzz.txt .venv/dev.stamp
	@$(PIP_INSTALL) -q -r requirements-fuzz.txt
	@touch $@

# The npm package `soap`, a client as hospitals have them. Where the machine has no Node.js, a wheel brings it.
SOAP_CLIENT := tests/e2e/soap_client
.venv/soap.stamp: $(SOAP_CLIENT)/package.json $(SOAP_CLIENT)/package-lock.json $(SOAP_CLIENT)/install.py .venv/dev.stamp
	@$(PY) $(SOAP_CLIENT)/install.py .venv/soap_client
	@touch $@

# The independent verifier pins an older cbor2 than ours, so it lives in an environment of its own.
.venv/cwt.stamp: requirements-cwt.txt | $(PY)
	@$(PY) -m venv .venv/cwt
	@.venv/cwt/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-cwt.txt
	@touch $@
