"""Registration of one pair by optimisation: alignment, instance optimisation of a velocity, and their composition."""
