#!/bin/sh
# Uses a machine with an accelerator for a quarter of an hour; --help says how, experiments/accelerator/ does it.
#   sh experiments/accelerator_run.sh OUT --data=prepared/acdc_small --wheels=wheels
set -eu
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" -m experiments.accelerator.run "$@"
