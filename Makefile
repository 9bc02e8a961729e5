# Two commands: `make run` (one iteration, from nothing) and `make test`. `make help` lists the rest.
#
# Variables:
#   PYTHON=python3.12       the interpreter that makes .venv (default: the first Python >= 3.11 on PATH)
#   TORCH_INDEX_URL=URL     an extra package index for torch alone. On Linux without an NVIDIA GPU, give the address that
#                           pytorch.org names for its CPU build: the default build there is some 3 GB larger.
#   PROVER_DATA=FOLDER      where a run writes (default: ./data)
#   ARGS="..."              passed on to the program behind `run`, `ui` and `test`

SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
# Extras of pyproject.toml to install; continuous integration adds lean, postgres and lora.
EXTRAS ?= dev,docs
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --root-user-action=ignore

# Everything runs from local files: no hub is ever asked, nothing reports home.
export HF_HUB_OFFLINE ?= 1
export DO_NOT_TRACK ?= 1
export DAGSTER_HOME ?= $(CURDIR)/dagster_home

.DEFAULT_GOAL := help
.PHONY: reproduce fuzz soak licences audit
.PHONY: help setup run ui test mutants lint docs lock clean distclean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP) ## make .venv and install the pinned versions

run: $(STAMP) ## run the next iteration (iter_000 first) and print what it found
	@$(PY) -m prover_assets.run $(ARGS)

ui: $(STAMP) ## Dagster (webserver and daemon) and MLflow on 127.0.0.1; Ctrl-C stops them
	@$(PY) -m prover_assets.ui $(ARGS)

# One thread per worker process: there are as many processes as cores, and one more (tests/conftest.py).
test: $(STAMP) ## the test suite (ARGS=--ui: also with the servers, a browser and Postgres)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -n auto --dist loadgroup $(ARGS)

mutants: $(STAMP) ## put small faults into the code and count those that no test notices (slow; ARGS="--only ebm/model")
	@$(PY) tools/mutants.py $(ARGS)

lint: $(STAMP) ## ruff, mypy, import contract
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

docs: $(STAMP) ## the API reference in build/docs; fails on a missing docstring or a broken link
	@$(PY) tools/architecture_picture.py
	@$(PY) tools/build_docs.py $(ARGS)

lock: $(STAMP) ## write constraints.txt from what is installed
	@{ echo "# Versions this project is tested with; written by \`make lock\`."; \
	$(PY) -m pip freeze --exclude-editable | grep -viE '^(nvidia-|triton)|@ ' | sed 's/^\(torch==[^+]*\)+.*/\1/'; \
	} > constraints.txt.tmp && mv constraints.txt.tmp constraints.txt

reproduce: $(STAMP) ## the same search and training three times: is everything but times the same?
	@$(PY) benchmarks/reproduce.py $(ARGS)

fuzz: $(STAMP) ## readers of others' text on text made to break them, FUZZ_S seconds each (default 20)
	@PROVER_FUZZ_S=$(or $(FUZZ_S),20) $(PY) -m pytest tests/faults/test_fuzz.py $(ARGS)

soak: $(STAMP) ## the tests of faults at full size: 30 kills, 50,000 hostile tactics, 200,000 for leaks, 600 s of fuzzing each
	@PROVER_FUZZ_S=$(or $(FUZZ_S),600) PROVER_KILLS=$(or $(KILLS),30) PROVER_SOAK_TACTICS=$(or $(TACTICS),50000) $(PY) -m pytest --slow --long tests/faults tests/prover_assets/operate $(ARGS)

licences: $(STAMP) ## the licence of every installed package
	@$(PY) benchmarks/licences.py

audit: $(STAMP) ## known faults in the pinned versions (needs a network; pip-audit gets an environment of its own)
	@$(PY) -m venv build/audit && build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit \
	  && build/audit/bin/python -m pip_audit --requirement constraints.txt --no-deps --disable-pip $(ARGS)

clean: ## remove caches of the tools (data and .venv stay)
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf $(VENV) *.egg-info

# The stamp is as new as the last installation: a second `make run` installs nothing.
$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
	  echo "error: no Python >= 3.11 found on PATH ($$(python3 --version 2>/dev/null || echo 'no python3'))." >&2; \
	  echo "       Install one (python.org, your distribution, uv, pyenv), or say which: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	  exit 1; fi
	@if ! $(PY) -c pass >/dev/null 2>&1; then \
	  rm -rf $(VENV); \
	  $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	    || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(PY) install --quiet pip; } \
	    || { echo "error: $(PYTHON) can make no virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	fi
	@if [ "$$(uname -s)" = Linux ] && [ -z "$(TORCH_INDEX_URL)" ] && ! command -v nvidia-smi >/dev/null 2>&1 \
	    && ! $(PY) -c 'import torch' >/dev/null 2>&1; then \
	  echo "No NVIDIA GPU found. To save gigabytes, TORCH_INDEX_URL can name pytorch.org's index of CPU builds."; fi
	@if [ -n "$(TORCH_INDEX_URL)" ]; then \
	  $(PIP_INSTALL) --index-url "$(TORCH_INDEX_URL)" -c constraints.txt torch; fi
	$(PIP_INSTALL) --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@
