"""The names of the splits: their one home, light enough for the command line."""

from __future__ import annotations

SPLITS = ("train", "valid", "test", "calib")
# What folders and tables call them.
PARTS = {"train": "train", "training": "train", "trn": "train", "valid": "valid", "val": "valid",
         "validation": "valid", "validate": "valid", "dev": "valid", "test": "test",
         "testing": "test", "tst": "test"}  # fmt: skip
