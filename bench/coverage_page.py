"""The Markdown of docs/coverage.md from the simulated cells of bench/coverage.py."""

from __future__ import annotations

from typing import Any

# metric -> the family whose fewest groups rule it (lesionlab.evaluation.intervals.FEWEST)
FAMILIES = {
    "sensitivity": "share",
    "specificity": "share",
    "ppv": "share",
    "npv": "share",
    "accuracy": "share",
    "ppv at 2 %": "share",
    "net benefit at 0.2": "share",
    "net benefit at 0.5": "share",
    "roc_auc": "roc_auc",
    "average_precision": "average_precision",
    "interpolated_pr_area": "interpolated_pr_area",
    "partial_auc_80": "partial_auc",
    "sensitivity_at_specificity_80": "sensitivity_at_specificity",
    "sensitivity_at_specificity_90": "sensitivity_at_specificity",
    "sensitivity_at_specificity_95": "sensitivity_at_specificity",
    "specificity_at_sensitivity_80": "specificity_at_sensitivity_80",
    "specificity_at_sensitivity_90": "specificity_at_sensitivity_90",
    "specificity_at_sensitivity_95": "specificity_at_sensitivity_95",
    "balanced_accuracy": "mean_over_classes",
    "balanced_accuracy_prior_corrected": "mean_over_classes",
    "f1": "f1",
    "f1_macro": "mean_over_classes",
    "mcc": "agreement",
    "kappa": "agreement",
    "nll": "loss",
    "brier": "loss",
    "slope": "calibration",
    "intercept": "calibration",
    "observed_expected": "calibration",
}
MEANS = ("roc_auc", "average_precision")  # over the classes, where there are more than two
# Shares that do not hang on the scarcer class alone.
ALL_GROUPS = ("specificity", "accuracy")


def page(cells: list[dict[str, Any]], required: float, fewest: dict[str, int]) -> str:
    """The whole page."""
    two = [c for c in cells if c["cell"]["classes"] == 2]
    seven = [c for c in cells if c["cell"]["classes"] > 2]
    return "\n".join(
        [
            HEAD.format(studies=min(c["studies"] for c in cells), required=required * 100),
            minima(fewest),
            "\n## The designs\n",
            designs(cells),
            "\n## Ours, two classes\n",
            table(two, "ours", required, fewest),
            "\n## Ours, seven classes in the proportions of HAM10000\n",
            table(seven, "ours", required, fewest),
            "\n## For comparison: the plain percentile interval of the same resamples\n",
            table(two, "percentile", required, {}),
            "",
            table(seven, "percentile", required, {}),
            "\n## For comparison: groups ignored (Wilson, DeLong)\n",
            table(two, "no groups", required, {}),
            "\n## Does a chosen threshold reach its sensitivity?\n",
            thresholds(two),
            "",
        ]
    )


HEAD = """# Coverage of the intervals

Written by `bench/coverage.py`: {studies:,} simulated studies per design, by the product's code,
500 resamples each (the product uses 2,000; only their variance matters). A number is the percentage
of studies whose 95 % interval contains the true value; {required:.0f} is required, and a
number below it is **bold**. With 1,000 studies a true 95 % appears as 93.6 to 96.4. Numbers in
brackets are below the stated minimum of groups: there the
product gives no interval and says "too few to say". Groups of unequal size count by their
effective number, (sum of sizes)^2 / sum of squares.

How the intervals are made: `lesionlab/evaluation/resampled.py` and `intervals.py`. In short:
proportions by Wilson's interval on the effective n of the groups with a t quantile; ranking
metrics, F1, MCC and kappa by a t interval on the logit scale with the variance of the clustered
bootstrap (of DeLong where every group is one image); means over classes by MOVER; losses on the log scale.
The degrees of freedom are those of the rarer class. Plain percentile intervals cover less,
especially with few groups. Intervals that ignore the groups cover far too little. The expected
calibration error has no interval here: in the last row of the percentile table its percentile
interval contains the true value (0, since the simulated probabilities are exact) in no study.

## Minimum effective number of groups of the rarer class
"""


def minima(fewest: dict[str, int]) -> str:
    """The table of stated minima."""
    names: dict[str, list[str]] = {}
    for metric, family in FAMILIES.items():
        names.setdefault(family, []).append(metric.removesuffix("_80"))
    names["precision_of_mixed"] = ["both of these, of groups with several classes"]
    names["mean_over_two_or_mixed"] = ["the same, of two classes or of groups with several"]
    rows = [f"| {', '.join(dict.fromkeys(names[f]))} | {n} |" for f, n in fewest.items()]
    return "\n".join(["| metrics | groups |", "|---|---:|", *rows])


def designs(cells: list[dict[str, Any]]) -> str:
    """What each column of the tables stands for."""
    head = (
        "| design | groups | images each | ICC | label of | positive | distance | scarcer groups |"
    )
    rows = [
        "| {name} | {groups} | {images} | {icc} | {labels} | {positive} | {distance} |".format(
            **(c["cell"] | {k: of(c["cell"]) for k, of in SHOWN.items()})
        )
        + f" {c['scarcer groups']:.0f} |"
        for c in cells
    ]
    return "\n".join([head, "|---|---:|---:|---:|---|---:|---:|---:|", *rows])


def share(cell: dict[str, Any]) -> str:
    """The share of positives, or of the rarest class."""
    return "1.1 % (rarest)" if cell["classes"] > 2 else f"{cell['positive']:.0%}"


def distance(cell: dict[str, Any]) -> str:
    """How far apart the classes are, in standard deviations."""
    return "2.0 to 3.5" if cell["classes"] > 2 else f"{cell['distance']}"


def images(cell: dict[str, Any]) -> str:
    """How many images a group has."""
    unequal = cell.get("sizes") == "unequal"
    return f"1 and more, mean {cell['images']}" if unequal else f"{cell['images']}"


SHOWN = {"positive": share, "distance": distance, "images": images}


def table(cells: list[dict[str, Any]], method: str, required: float, fewest: dict[str, int]) -> str:
    """Metrics in rows, designs in columns."""
    metrics = [m for m in [*FAMILIES, "ece"] if any(f"{m}|{method}" in c["tally"] for c in cells)]
    head = "| metric | true | " + " | ".join(c["cell"]["name"] for c in cells) + " |"
    rows = []
    for metric in metrics:
        figures = [figure(c, metric, method, required, fewest) for c in cells]
        true = cells[-1]["true"][metric]
        rows.append(f"| {metric} | {true:.3f} | " + " | ".join(figures) + " |")
    return "\n".join([head, "|---|---:|" + "---:|" * len(cells), *rows])


def figure(
    c: dict[str, Any], metric: str, method: str, required: float, fewest: dict[str, int]
) -> str:
    """One coverage in percent."""
    given, above, below, _, _ = c["tally"].get(f"{metric}|{method}", [0, 0, 0, 0, 0])
    if not given:
        return ""
    coverage = 1 - (above + below) / given
    text = f"{coverage * 100:.1f}"
    scarcer = c["scarcer groups"] if metric not in ALL_GROUPS else c["cell"]["groups"]
    family = FAMILIES.get(metric, "")
    hard = c["cell"]["classes"] == 2 or c["cell"]["labels"] == "image"
    if family == "mean_over_classes" or (c["cell"]["classes"] > 2 and metric in MEANS):
        family = "mean_over_two_or_mixed" if hard else "mean_over_classes"
    elif c["cell"]["labels"] == "image" and family in ("average_precision", "interpolated_pr_area"):
        family = "precision_of_mixed"
    if scarcer < fewest.get(family, 0) - 0.5:
        return f"({text})"
    return f"**{text}**" if coverage < required - 1e-9 else text


def thresholds(cells: list[dict[str, Any]]) -> str:
    """How often the true sensitivity of a chosen threshold is 0.95 or more."""
    rows = []
    for c in cells:
        bound, point = c["threshold"]["sensitivity_bound"], c["threshold"]["sensitivity"]
        kept = f"{bound[0] / bound[1]:.1%}" if bound[1] else "refused"
        rows.append(f"| {c['cell']['name']} | {kept} | {bound[1]} | {point[0] / point[1]:.1%} |")
    text = (
        "The percentage of studies in which the chosen threshold has a true sensitivity of at\n"
        "least 0.95: by the lower bound (the default; 95 % guaranteed), with the number of\n"
        "studies in which it was not refused (59 positive groups are needed), and by the point estimate.\n"
    )
    head = ["| design | lower bound | of studies | point estimate |", "|---|---:|---:|---:|"]
    return "\n".join([text, *head, *rows])
