"""The names of the splits: their one home, light enough for the command line."""

from __future__ import annotations

SPLITS = ("train", "valid", "test", "calib")
# What folders and tables call them.
PARTS = {"train": "train", "training": "train", "valid": "valid", "val": "valid",
         "validation": "valid", "test": "test", "testing": "test"}  # fmt: skip
