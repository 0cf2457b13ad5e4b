# make run, make test, make bench; `make check` is lint and types.
PYTHON ?= python3
PORT ?= 7071
BIN := .venv/bin

.PHONY: run test check bench clean

run: .venv/run.stamp node_modules/.package-lock.json
	@$(BIN)/python -m local.run --port $(PORT)

test: .venv/dev.stamp node_modules/.package-lock.json .clients/openai-1
	$(BIN)/python -m pytest
	PYTHONPATH=.clients/openai-1 $(BIN)/python -m pytest tests/e2e/test_openai_python.py tests/e2e/test_openai_python_errors.py

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/dev.stamp node_modules/.package-lock.json
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .clients node_modules .azurite

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; PYTHON=... names one."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python requirements.txt requirements-manage.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-manage.txt
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# The previous major version of the openai client, beside the newest one in the environment.
.clients/openai-1: .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --target $@ 'openai<2'

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@
