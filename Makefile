# Everything a developer does with this repository. Needed: make and Python 3.11 or newer with its venv module.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Which build of torch to install: cpu or cuda. Once one is there, it is kept until the other is asked for.
INSTALLED_TORCH := $(patsubst $(VENV)/.torch-%,%,$(wildcard $(VENV)/.torch-*))
TORCH ?= $(or $(INSTALLED_TORCH),cpu)
TORCH_PIN := $(shell grep '^torch==' constraints.txt)
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
# The index is an extra one, so that a machine that cannot reach it may find the wheel where pip is told to look.
TORCH_SOURCE_cpu := --extra-index-url $(TORCH_CPU_INDEX)
TORCH_SOURCE_cuda :=
ifeq ($(filter cpu cuda,$(TORCH)),)
$(error TORCH is '$(TORCH)'; it must be cpu or cuda)
endif

# Lies in the environment while something is being installed. Found at the start, it tells of an installation that was
# interrupted or failed: nobody knows what is half there, so the environment is made afresh.
UNFINISHED := $(VENV)/.unfinished
BEGIN = @touch $(UNFINISHED)
END = @rm $(UNFINISHED) && touch $@

# What the demo trains. The environment may hold an ARCH that means something else, so only the demo looks at it.
ARCH ?= rnn
ifneq ($(filter demo,$(MAKECMDGOALS)),)
ifeq ($(filter rnn cnn,$(ARCH)),)
$(error ARCH is '$(ARCH)'; it must be rnn or cnn)
endif
endif

# The container image. BUILD_OPTIONS go to `docker build`, such as --no-cache or --network=host.
DOCKER ?= docker
IMAGE ?= s2s:$(TORCH)
BASE_IMAGE ?= python:3.11-slim
BUILD_OPTIONS ?=
TORCH_BUILD_cpu := cpu
TORCH_BUILD_cuda := cu130
TORCH_BUILD ?= $(TORCH_BUILD_$(TORCH))

# AUDIT_OPTIONS go to pip-audit, such as --vulnerability-service osv.
AUDIT_OPTIONS ?=

# The demo counts the time of its set-up as well.
STARTED := $(shell date +%s)

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help:  ## print this list
	@echo 'Usage: make TARGET [PYTHON=python3.11] [TORCH=cpu|cuda] [ARCH=rnn|cnn]'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '  %-12s %s\n' "$$target" "$$text"; done

.PHONY: setup
setup: $(VENV)/.extra-dev $(VENV)/.extra-demo  ## create .venv with all that developing and the demo need

.PHONY: demo
demo: $(VENV)/.extra-demo  ## train on a pronunciation dictionary, serve the model, score unseen words (6 minutes)
	S2S_DEMO_STARTED=$(STARTED) $(BIN)/python -m local_test.demo --arch $(ARCH)

# One thread each, since there is a process for every core.
.PHONY: test
test: $(VENV)/.extra-dev  ## run the tests, without those that train for minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m 'not learn and not image' -n auto --maxprocesses 8

.PHONY: learn
learn: $(VENV)/.extra-dev  ## run the tests that train toy tasks to a quality threshold (minutes of CPU)
	$(BIN)/python -m pytest -q -m learn tests/system

.PHONY: image
image:  ## build the container image s2s:cpu, or with TORCH=cuda s2s:cuda, and show its layers
	$(DOCKER) build $(BUILD_OPTIONS) --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg TORCH_BUILD=$(TORCH_BUILD) \
		--build-arg REVISION=$$(git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown) \
		--tag $(IMAGE) .
	@$(DOCKER) history --format 'table {{.Size}}\t{{.CreatedBy}}' $(IMAGE)
	@echo "$(IMAGE): $$($(DOCKER) image inspect --format '{{.Size}}' $(IMAGE) | awk '{printf "%.0f MB", $$1 / 1e6}')," \
		"$(BASE_IMAGE) among it"

.PHONY: test-image
test-image: $(VENV)/.extra-dev  ## run that image as the platform does, and clients of it (minutes)
	S2S_IMAGE='$(IMAGE)' DOCKER='$(DOCKER)' $(BIN)/python -m pytest -q -rs -m image tests/image

.PHONY: lint
lint: $(VENV)/.extra-dev  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: bench
bench: $(VENV)/.extra-dev  ## run the measurements in benchmarks/, each of which prints a table
	@found=0; for file in benchmarks/[a-z]*.py; do \
		[ -e "$$file" ] || continue; \
		found=1; name=$${file#benchmarks/}; \
		echo "== $$file"; $(BIN)/python -m "benchmarks.$${name%.py}" || exit 1; \
	done; \
	[ $$found = 1 ] || { echo 'make bench: there are no measurements in benchmarks/ yet' >&2; exit 1; }

.PHONY: docs
docs: $(VENV)/.extra-dev  ## regenerate docs/hyperparameters.md, docs/metric_definitions.json and the table of docs/models.md
	@mkdir -p docs
	$(BIN)/s2s describe hyperparameters > docs/hyperparameters.md.new
	mv docs/hyperparameters.md.new docs/hyperparameters.md
	$(BIN)/s2s describe metrics > docs/metric_definitions.json.new
	mv docs/metric_definitions.json.new docs/metric_definitions.json
	$(BIN)/python -m benchmarks.parameter_counts --write docs/models.md

# Environments of their own for groups of pyproject.toml: neither the product nor its tests need these packages.
build/%-venv/.made: pyproject.toml constraints.txt
	rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt \
		$$($(PYTHON) -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
		print(*p['project']['optional-dependencies']['$*'])")
	touch $@

.PHONY: site
site: build/docs-venv/.made  ## build the documentation as a site in build/site
	build/docs-venv/bin/mkdocs build --strict

.PHONY: wheel
wheel: build/release-venv/.made  ## build the package in dist/: a wheel, and the sources that it was made from
	rm -rf dist && build/release-venv/bin/python -m build

.PHONY: licences
licences: build/release-venv/.made $(VENV)/.extra-dev $(VENV)/.extra-demo  ## write the licences of all dependencies to docs/licences.md
	$(BIN)/python -m release.licences build/release-venv/bin/pip-licenses > build/licences.md
	mv build/licences.md docs/licences.md

.PHONY: audit
audit: build/release-venv/.made  ## look up known vulnerabilities of everything that constraints.txt pins
	build/release-venv/bin/python -m release.audit $(AUDIT_OPTIONS)

.PHONY: constraints
constraints:  ## pin the newest releases that pyproject.toml allows in constraints.txt
	rm -rf build/constraints && mkdir -p build && $(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --extra-index-url $(TORCH_CPU_INDEX) -e '.[dev,demo]'
	{ sed -n '/^#/p' constraints.txt; build/constraints/bin/python -m pip freeze --all --exclude-editable \
		| sed -e '/^pip==/d' -e 's/+[A-Za-z0-9.]*$$//' | LC_ALL=C sort -f; } > build/constraints.txt
	mv build/constraints.txt constraints.txt && rm -rf build/constraints

.PHONY: clean
clean:  ## remove what make, the tests and the demo have made, .venv included
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the virtual environment; a file per finished step, so that nothing is installed twice ---

.PHONY: FORCE
FORCE:

ifneq ($(wildcard $(UNFINISHED)),)
$(VENV)/.made: FORCE
endif

$(VENV)/.made:
	@$(PYTHON) -c '' || { echo "make: '$(PYTHON)' does not run; name a Python: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
		"name another: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "make: '$(PYTHON)' has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@mkdir -p $(VENV)
	@if [ -e $(UNFINISHED) ]; then echo 'An installation was interrupted: starting $(VENV) afresh'; \
		find $(VENV) -mindepth 1 ! -path $(UNFINISHED) -delete; fi
	$(BEGIN)
	$(PYTHON) -m venv $(VENV)
	$(END)

# torch comes first and alone: it is by far the largest package, and the only one with a choice of builds.
# What it depends on is installed with the rest, by the rule below. Python compiles to bytecode what is used when it is
# first used; to compile everything at once would take as long as all the rest of the installation.
$(VENV)/.torch-$(TORCH): $(VENV)/.made constraints.txt
	$(BEGIN)
	$(if $(filter-out $(TORCH),$(INSTALLED_TORCH)),$(PIP) uninstall --yes torch)
	rm -f $(VENV)/.torch-*
	$(PIP) install --no-compile --no-deps --retries 1 $(TORCH_SOURCE_$(TORCH)) '$(TORCH_PIN)'
	$(END)

$(VENV)/.extra-%: $(VENV)/.torch-$(TORCH) pyproject.toml constraints.txt
	$(BEGIN)
	$(PIP) install --no-compile --constraint constraints.txt --editable '.[$*]'
	$(END)
