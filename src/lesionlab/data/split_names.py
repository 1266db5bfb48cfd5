"""The names of the splits: their one home, light enough for the command line."""

from __future__ import annotations

SPLITS = ("train", "valid", "test", "calib")
