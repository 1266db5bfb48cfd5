"""Presets, repeats, tuning and ensembles."""
