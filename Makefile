# Set-up and everyday commands. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(shell command -v uv 2>/dev/null)

.PHONY: help setup quickstart test browser lint bench clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

setup: $(READY)  ## Make a virtual environment and install everything that was tested together

quickstart: $(READY)  ## Set up, then fine-tune on the built-in drawings: about two minutes on two cores
	$(BIN)/zoo finetune resnet18 --data hotdog-cartoon --data-option images=600 --weights none --image-size 64 --epochs 14
	@echo
	@echo "That was a network trained from scratch on drawings. What to try next:"
	@echo "  source $(BIN)/activate"
	@echo "  zoo runs                                    # what was trained, and how well"
	@echo "  zoo show hotdog-cartoon --augmented         # what the network sees"
	@echo "  zoo finetune resnet18 --data hotdog         # real photos, pretrained weights (downloads both)"
	@echo "  zoo finetune resnet18 --data PATH           # your own photos: a folder with a folder for each class"

test: $(READY) browser  ## Set up, then run the tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# Chromium, where there is none yet: the demo's tests drive it, and skip without.
browser: $(READY)
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done; \
		PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT=5000 $(BIN)/python -m playwright install --only-shell chromium 2>/dev/null \
		|| echo "Chromium cannot be had: the tests in a browser will be skipped."

lint: $(READY)  ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)  ## Run every benchmark in its quick form: a minute or two
	for file in bench/[a-z]*.py; do $(BIN)/python $$file --quick || exit 1; done

clean:  ## Remove the virtual environment
	rm -rf $(VENV)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "finetune-zoo needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
		echo "Say which to use: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12"; exit 1; }
ifdef UV
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable . --group dev
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
endif
	@touch $(READY)
