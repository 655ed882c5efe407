# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep '^torch==' constraints.txt)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo test docs check test-trl-oldest test-verl clean

demo: $(VENV)/.package  ## compare A-HPO with GRPO from the same sparse start: verdict and report.html
	$(BIN)/hysteretic demo --output demo/$$(date +%Y%m%d-%H%M%S)

test: $(VENV)/.dev check  ## lint, types and all tests
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/pytest -n 2

docs: $(VENV)/.dev  ## the documentation site: site/index.html, which opens from disk
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-trl-oldest:  ## the trainer's tests with the oldest supported TRL, in its own environment
	PYTHON=$(PYTHON) sh tests/oldest_trl.sh

test-verl:  ## in verl, on Ray, with the oldest and the newest supported version, in an environment of its own
	PYTHON=$(PYTHON) sh tests/with_verl.sh

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

clean:
	rm -rf $(VENV) .venv-oldest .venv-verl dist build site
