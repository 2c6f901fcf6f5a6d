"""Maps of space between two images, in RAS millimetres, with NumPy and SciPy only.

A transform pulls: it takes a point of the fixed image's world to the point of the moving image's world that it shows.
"""
