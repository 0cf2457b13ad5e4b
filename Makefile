# make run, make test, make bench; `make check` is lint and types. `make package` puts what the app imports beside it,
# to be published; `make lock` pins the requirements.
PYTHON ?= python3
PORT ?= 7071
BIN := .venv/bin
PARALLEL := --numprocesses 2 --dist loadfile

.PHONY: run test clients sdk-test check bench package lock clean

run: .venv/run.stamp node_modules/.package-lock.json
	@$(BIN)/python -m local.run --port $(PORT)

test: .venv/dev.stamp node_modules/.package-lock.json clients
	$(BIN)/python -m pytest $(PARALLEL)

# Client libraries that cannot be beside the newest one, each kind in a folder of its own.
CLIENTS := $(patsubst tests/clients/%.in,.clients/%,$(wildcard tests/clients/*.in))

clients: $(CLIENTS)

.clients/%: tests/clients/%.txt .venv/dev.stamp
	rm -rf $@
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target $@ --requirements $<
	@touch $@

sdk-test: .venv/dev.stamp node_modules/.package-lock.json
	$(BIN)/python -m pytest $(PARALLEL) sdk/python/tests

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --quiet --offline .github

bench: .venv/dev.stamp node_modules/.package-lock.json
	$(BIN)/python -m benchmarks

package:
	$(PYTHON) infra/hooks/package.py

# The pinned requirements from those that end in .in. What fits them is kept; UPGRADE=1 takes the newest of everything.
# requirements.txt is without hashes: who reads it (a remote build, a local worker) installs more beside it, and pip
# checks the hashes of all packages or of none. What is packaged here is requirements.lock, which has them.
lock: COMPILE := $(BIN)/uv pip compile --quiet --no-annotate --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)
lock: ANYWHERE := --universal --python-version 3.11
lock: AZURE := --python-version 3.13 --python-platform x86_64-manylinux_2_28
lock: .venv/dev.stamp
	$(COMPILE) $(ANYWHERE) requirements.in -o requirements.txt
	$(COMPILE) $(AZURE) --generate-hashes requirements.txt -o requirements.lock
	$(COMPILE) $(ANYWHERE) --generate-hashes requirements-manage.in -o requirements-manage.txt
	$(COMPILE) $(ANYWHERE) --generate-hashes requirements-dev.in -o requirements-dev.txt
	$(foreach client,$(notdir $(CLIENTS)),$(COMPILE) $(ANYWHERE) --generate-hashes tests/clients/$(client).in -o tests/clients/$(client).txt &&) true

clean:
	rm -rf .venv .clients sdk/python/.clients .python_packages node_modules .azurite

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; PYTHON=... names one."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python requirements-manage.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-manage.txt
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@
