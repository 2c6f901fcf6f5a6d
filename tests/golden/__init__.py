"""Reference values of the official networks, and the order in which they list their tensors."""
