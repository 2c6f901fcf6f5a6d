"""Weights: the released format, models loaded from it, parameters taken from a run."""
