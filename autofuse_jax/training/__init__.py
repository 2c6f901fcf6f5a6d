"""Training: what a config describes, the loop, the step, the state, validation and the final report."""
