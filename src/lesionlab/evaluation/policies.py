"""How a threshold may be chosen, and how it is chosen where nobody says. Imports nothing heavy."""

from __future__ import annotations

POLICIES = {
    "sensitivity_bound": "the one-sided 95 % lower bound of sensitivity is at least the target",
    "sensitivity": "the observed sensitivity is at least the target (no allowance for chance)",
    "specificity": "the observed specificity is at least the target (no allowance for chance)",
    "youden": "sensitivity + specificity is greatest",
    "cost": "the expected cost is least; the target is the cost of a miss in false alarms",
    "fixed": "the threshold is given",
}
DEFAULT_POLICY = "sensitivity_bound"  # docs/decisions/0031
DEFAULT_TARGET = 0.95
DEFAULT_ALPHA = 0.1  # of conformal sets: the proportion of each class that they may miss
