"""Small predictions tables, written by hand."""

from __future__ import annotations

import numpy as np

from lesionlab.evaluation.predictions import Predictions


def predicted(y_true: list[int], y_prob: list[list[float]], patients: list[str]) -> Predictions:
    n = len(y_true)
    ids = np.array([f"i{k}" for k in range(n)], object)
    none = np.array([""] * n, object)
    classes = ("a", "b", "c")[: len(y_prob[0])]
    patient = np.array(patients, object)
    return Predictions(ids, patient, none, classes, np.array(y_true), np.array(y_prob))
