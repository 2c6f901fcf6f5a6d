# make demo   environment, then a small training on synthetic hearts, with a table and pictures at its end
# make test   environment, then all tests but the long ones
# make slow   the long tests

# The first of these that runs and has a supported version; a command that merely exists may belong to a version manager.
SUPPORTED = import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for name in python3.12 python3.11 python3 python; do \
	if $$name -c '$(SUPPORTED)' > /dev/null 2>&1; then echo $$name; break; fi; done)
ENVIRONMENT ?= .venv
RUN = $(ENVIRONMENT)/bin/python

.PHONY: demo test slow clean

demo: $(ENVIRONMENT)/installed
	$(RUN) -m autofuse_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

test: $(ENVIRONMENT)/installed
	$(RUN) -m pytest

slow: $(ENVIRONMENT)/installed
	$(RUN) -m pytest -m slow

$(ENVIRONMENT)/installed: requirements.txt pyproject.toml
	@'$(PYTHON)' -c '$(SUPPORTED)' || { echo 'error: Python 3.11 or 3.12 is needed; run make PYTHON=/path/to/python3.12' >&2; exit 2; }
	$(PYTHON) -m venv $(ENVIRONMENT)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(ENVIRONMENT)
