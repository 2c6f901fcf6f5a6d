"""Applying a transform to images, labels and points."""
