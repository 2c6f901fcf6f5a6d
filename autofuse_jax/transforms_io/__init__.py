"""Transforms in files, one module per convention; everything else of the package knows one convention only."""
