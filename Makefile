# make demo   environment, then a small training on synthetic hearts, with a table and pictures at its end
# make test   environment, then all tests but the long ones
# make slow   the long tests

PYTHON ?= $(shell command -v python3.12 || command -v python3.11 || command -v python3)
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
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 13) else "Python 3.11 or 3.12 is needed, found " + sys.version.split()[0] + "; run make PYTHON=/path/to/python3.12")'
	$(PYTHON) -m venv $(ENVIRONMENT)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(ENVIRONMENT)
