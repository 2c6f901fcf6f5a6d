"""Situations that clinics and laboratories meet, made from the data at hand, each with what it must come to."""
