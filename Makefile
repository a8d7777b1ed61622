# Every target does its own set-up in .venv; what this machine lacks is named with the command that installs it.
# `make PYTHON=python3.12 test` uses another interpreter (remove .venv first when changing it).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := $(wildcard ingestd/hotpath/*.pyx ingestd/hotpath/*.pxd ingestd/hotpath/*.h) setup.py pyproject.toml ingestd/__init__.py
SANITIZED := build/sanitized
SANITIZE_TESTS := $(wildcard tests/unit/hotpath tests/model tests/fuzz)
PYTEST := $(BIN)/pytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test unit kafka lint format sanitize sanitize-sample soak faults bench bench-tuning build jars lock clean distclean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

demo: $(VENV)/.demo $(VENV)/.built  ## a whole pipeline on this machine, with an embedded mock cluster
	$(BIN)/ingestd demo

build: $(VENV)/.build $(VENV)/.runtime $(VENV)/.built  ## .venv with ingestd and its compiled record path

test: preflight-test lint sanitize-sample jars  ## lint, types, sanitizer sample, and every test but the long ones
	$(PYTEST) --durations=10

unit: $(VENV)/.dev $(VENV)/.built  ## only the tests that need neither sockets nor Kafka
	$(PYTEST) tests/unit $(wildcard tests/model)

kafka: preflight-test $(VENV)/.dev $(VENV)/.built jars  ## only the tests with a real Apache Kafka
	$(PYTEST) tests/kafka

lint: $(VENV)/.dev $(VENV)/.built  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## lets ruff lay out the Python files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The sanitizers' runtimes must be loaded before Python. Leaks are not looked for: the interpreter itself keeps much to its end.
SANITIZE_ENVIRONMENT = LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=1 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 PYTHONMALLOC=malloc INGESTD_SANITIZED=$(SANITIZED)/lib
SANITIZE_PYTEST = $(PYTEST) -p no:cacheprovider -o "pythonpath=$(SANITIZED)/lib ." $(SANITIZE_TESTS)

sanitize: preflight-sanitize $(SANITIZED)/.built  ## the record path's tests under AddressSanitizer and UBSan, in full
	$(SANITIZE_ENVIRONMENT) INGESTD_HYPOTHESIS_PROFILE=thorough $(SANITIZE_PYTEST) --timeout=3600

sanitize-sample: preflight-sanitize $(SANITIZED)/.built
	$(SANITIZE_ENVIRONMENT) INGESTD_HYPOTHESIS_PROFILE=sample $(SANITIZE_PYTEST) -m "not soak and not faults and not exhaustive" --durations=5

soak: preflight-test $(VENV)/.dev $(VENV)/.built jars  ## the long runs: crashes, broker restarts, outages at full size
	INGESTD_HYPOTHESIS_PROFILE=thorough $(PYTEST) -m soak --timeout=3600 --durations=0

faults: preflight-test $(VENV)/.dev $(VENV)/.built jars  ## bad days against real brokers; ends with a table
	$(PYTEST) tests/faults -m "faults or not faults" --timeout=900 --durations=5

bench: preflight-test $(VENV)/.bench $(VENV)/.built jars  ## measures; writes results/ (JSON and one picture)
	$(BIN)/python -m benchmarks

bench-tuning: preflight-test $(VENV)/.bench $(VENV)/.built  ## sweeps batch.size, linger.ms, send.buffer.bytes over lines of 0, 5 and 50 ms (docs/tuning.md)
	$(BIN)/python -m benchmarks.tuning

jars: $(VENV)/.dev  ## fetches Apache Kafka for the tests into the user's cache and checks every jar
	@$(BIN)/python -m tests.kafka.artifacts

lock: $(VENV)/.lock  ## resolves the Python dependencies anew into requirements/*.txt
	$(COMPILE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra demo -c requirements/runtime.txt -o requirements/demo.txt
	$(COMPILE) --group build -o requirements/build.txt
	$(COMPILE) pyproject.toml --extra demo --group bench -c requirements/demo.txt -c requirements/build.txt -o requirements/bench.txt
	$(COMPILE) pyproject.toml --extra demo --group dev -c requirements/bench.txt -o requirements/dev.txt
	$(COMPILE) --group lock -o requirements/lock.txt

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

clean:  ## removes what was built (not .venv)
	rm -rf build dist results .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info $(VENV)/.built
	rm -f ingestd/hotpath/*.c ingestd/hotpath/*.so
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## removes .venv too
	rm -rf $(VENV)

.PHONY: preflight preflight-test preflight-sanitize
preflight:
	@.ci/preflight $(PYTHON)
preflight-test:
	@.ci/preflight $(PYTHON) tests sanitize
preflight-sanitize:
	@.ci/preflight $(PYTHON) sanitize

$(VENV)/bin/python: | preflight
	$(PYTHON) -m venv $(VENV)

# One environment, several lists of packages; the lists agree on versions because each is resolved under the ones before it.
$(VENV)/.%: requirements/%.txt | $(VENV)/bin/python
	@echo "installing requirements/$*.txt into $(VENV)"
	@$(PIP) install --require-hashes --no-deps -r $<
	@touch $@

$(VENV)/.built: $(SOURCES) $(VENV)/.build
	@echo "building the record path"
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

$(SANITIZED)/.built: $(SOURCES) $(VENV)/.dev $(shell find ingestd -name '*.py')
	@echo "building the record path with sanitizers"
	@rm -rf $(SANITIZED)
	@INGESTD_SANITIZE=1 $(BIN)/python setup.py -q build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	@cp ingestd/hotpath/*.pxd ingestd/hotpath/*.pyx $(SANITIZED)/lib/ingestd/hotpath/
	@touch $@
