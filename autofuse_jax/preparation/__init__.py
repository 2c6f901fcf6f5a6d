"""Preparing data: finding the images of a data set, bringing them onto one grid, listing them in a manifest."""
