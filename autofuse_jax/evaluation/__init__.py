"""Scoring registrations under a protocol, and comparing runs on the same pairs; without jax."""
