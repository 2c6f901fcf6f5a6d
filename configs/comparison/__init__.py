"""Configs of the paper's comparison: every method and variant, on hearts and on brains, under one protocol."""
