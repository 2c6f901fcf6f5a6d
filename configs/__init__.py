"""Experiments, one file each: `get_config()` returns every setting of a run."""
