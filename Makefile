# make demo   environment, then a small training on synthetic hearts, with a table and pictures at its end
# make test   environment with PyTorch, then all tests but the long ones
# make slow   the long tests
# make campaign  kills, full disks, damaged files, neighbours: under an hour; SEED=7 takes other moments
# make lint   style, format and types
# make notebooks   the notebooks, executed, with a record of their times
# make docs   the documentation as a site, in docs/_build
# make smoke  the wheel, installed and used in an empty folder

# The first of these that runs and has a supported version; a command that merely exists may belong to a version manager.
SUPPORTED = import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for name in python3.12 python3.13 python3.11 python3.14 python3 python; do \
	if $$name -c '$(SUPPORTED)' > /dev/null 2>&1; then echo $$name; break; fi; done)
ENVIRONMENT ?= .venv
RUN = $(ENVIRONMENT)/bin/python
INSTALL = $(RUN) -m pip install --quiet --disable-pip-version-check

SEED ?= 0
RECORD ?= runs/reliability.json

.PHONY: demo test slow campaign lint types smoke notebooks docs clean

demo: $(ENVIRONMENT)/installed
	$(RUN) -m autofuse_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

# Nearly all time goes into compiling, on one core each; what a file shares is made once.
test: $(ENVIRONMENT)/tools
	$(RUN) -m pytest -n 2 --dist=loadfile --no-loadscope-reorder

slow: $(ENVIRONMENT)/tools
	$(RUN) -m pytest -m slow

# In parts, each of which is in the record as soon as it is done; docs/reliability.md says what is tried.
campaign: $(ENVIRONMENT)/tools
	mkdir -p $(dir $(RECORD))
	$(RUN) -m tests.reliability.campaign.run --seed=$(SEED) --out=$(RECORD)

lint: $(ENVIRONMENT)/linters
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(MAKE) types

types: $(ENVIRONMENT)/linters
	$(RUN) -m mypy

# Warnings, broken links inside among them, are errors.
docs: $(ENVIRONMENT)/docs
	$(RUN) -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build

# The times are a record of this commit: changed sources are refused.
notebooks: $(ENVIRONMENT)/notebooks
	$(RUN) -m experiments.notebooks.execute
	$(RUN) -m experiments.tables.readme_tables

smoke: $(ENVIRONMENT)/installed
	.ci/smoke $(RUN)

$(ENVIRONMENT)/installed: requirements.txt pyproject.toml setup.py
	@'$(PYTHON)' -c '$(SUPPORTED)' || { echo 'error: Python 3.11 to 3.14 is needed; run make PYTHON=/path/to/python3.12' >&2; exit 2; }
	$(PYTHON) -m venv $(ENVIRONMENT)
	$(INSTALL) --editable .
	touch $@

# PyTorch and OpenVINO are large and not everywhere to be had: without them the tests that need them are skipped.
$(ENVIRONMENT)/tools: $(ENVIRONMENT)/installed
	$(INSTALL) --editable '.[test]'
	$(INSTALL) --editable '.[torch]' || echo 'PyTorch cannot be installed here; the tests that need it are skipped'
	$(INSTALL) --editable '.[deploy]' || echo 'OpenVINO cannot be installed here; the tests that need it are skipped'
	touch $@

$(ENVIRONMENT)/docs: $(ENVIRONMENT)/installed
	$(INSTALL) --editable '.[docs]'
	touch $@

# PyTorch is large and not everywhere to be had: without it the cells that need it say so.
$(ENVIRONMENT)/notebooks: $(ENVIRONMENT)/installed
	$(INSTALL) --editable '.[notebooks,itk]'
	$(INSTALL) --editable '.[torch]' || echo 'PyTorch cannot be installed here; the cells that need it are left out'
	touch $@

$(ENVIRONMENT)/linters: $(ENVIRONMENT)/installed
	$(INSTALL) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(ENVIRONMENT)
