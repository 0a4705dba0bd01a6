# Set-up and everyday commands. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := --constraint constraints.txt --editable ./export --editable . --group dev
TRACKERS := --constraint constraints.txt --group trackers
SITE := --constraint constraints.txt --group docs
PIP := $(BIN)/python -m pip install --quiet
# uv installs several times as fast as pip. Without one on the path, the environment gets its own.
UV := $(shell command -v uv 2>/dev/null)
ifdef UV
INSTALL_WITH_UV = $(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV) \
	&& $(UV) pip install --quiet --python $(BIN)/python $(PACKAGES)
else
INSTALL_WITH_UV = $(PYTHON) -m venv $(VENV) \
	&& $(PIP) --retries 1 --only-binary uv --constraint constraints.txt uv 2>/dev/null \
	&& $(BIN)/uv pip install --quiet --python $(BIN)/python $(PACKAGES)
endif
DRAWN := --data-option size=224
NEW := runs/drawings
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --durations 10

.PHONY: help setup quickstart test test-slow browser trackers site-tools lint docs coverage bench clean

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(READY)  ## Create a virtual environment and install the versions that were tested together

quickstart: $(READY)  ## Set up, then fine-tune on built-in drawings, export, and predict: under a minute once set up
	$(BIN)/zoo finetune efficientnet_lite0 --data hotdog-cartoon $(DRAWN) --data-option images=150 --freeze all
	@echo
	@echo "Now new drawings, which the run has not seen, the exported file, and what it says about two of them:"
	@set -x; test -d $(NEW) || $(BIN)/zoo data check hotdog-cartoon $(DRAWN) --data-option images=10 \
		--data-option seed=1 --fix-into $(NEW) --quiet
	@run=$$(ls -td runs/efficientnet_lite0-linear-hotdog-cartoon-*/ | head -1 | sed 's,/$$,,'); set -ex; \
		$(BIN)/zoo export $$run --quiet; \
		$(BIN)/zoo predict $$run/model.onnx $(NEW)/test/hotdog/00000.ppm $(NEW)/test/not-hotdog/00000.ppm; \
		{ set +x; } 2>/dev/null; echo; echo "What to try next:"; echo "  source $(BIN)/activate"; \
		echo "  zoo demo $$run"
	@echo "  zoo finetune --data PATH --freeze all    # your own photos: a folder with a folder for each class"
	@echo "  zoo finetune --data PATH                 # trains the backbone too, which takes longer"
	@echo "  zoo finetune resnet18 --data hotdog      # real photos (downloads them, and weights)"
	@echo "  zoo list                                 # everything else there is"

test: $(READY) browser  ## Set up, then run the tests: under six minutes on two cores
	$(PYTEST) -m "not slow"

test-slow: $(READY) browser trackers site-tools  ## Run the tests that take long: fuzzing, many kills, benchmarks, the pages of docs/
	@! $(BIN)/python -c "import zensical" 2>/dev/null || $(MAKE) --no-print-directory docs
	$(PYTEST) -m slow

# The tests of trackers skip without their libraries.
trackers: $(READY)
	@$(or $(UV),$(BIN)/uv) pip install --quiet --python $(BIN)/python $(TRACKERS) 2>/dev/null || $(PIP) $(TRACKERS) \
		|| echo "The libraries of trackers are not available: their tests will be skipped."

# The tests of the documentation site skip without these.
site-tools: $(READY)
	@$(or $(UV),$(BIN)/uv) pip install --quiet --python $(BIN)/python $(SITE) 2>/dev/null || $(PIP) $(SITE) \
		|| echo "The tools of the documentation site are not available."

# The browser tests of the demo need Chromium and skip without it.
browser: $(READY)
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done; \
		PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT=5000 $(BIN)/python -m playwright install --only-shell chromium 2>/dev/null \
		|| echo "Chromium is not available: the browser tests will be skipped."

lint: $(READY)  ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY) site-tools  ## Build the documentation site, with search and a reference of the Python interface
	$(BIN)/python docs/build_site.py
	@echo "To read it: $(BIN)/python -m http.server --directory build/docs/site 8000"

coverage: $(READY) browser  ## Run all tests and report the lines that none of them reaches
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
		|| echo "Some tests failed. Tests of times, imports and signal handlers may fail under coverage."
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

bench: $(READY)  ## Run every benchmark in its quick form: a minute or two
	for file in bench/[a-z]*.py; do $(BIN)/python $$file --quick || exit 1; done

clean:  ## Remove the virtual environment
	rm -rf $(VENV)

$(READY): pyproject.toml export/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "finetune-zoo needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
		echo "Choose another one: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12"; exit 1; }
	@$(INSTALL_WITH_UV) || { \
		echo "uv cannot install the packages here; pip does, and takes longer."; \
		$(PYTHON) -m venv $(VENV) && $(PIP) --upgrade 'pip>=25.1' && $(PIP) $(PACKAGES); }
	@touch $(READY)
