"""The Markdown of docs/coverage.md from the simulated cells of bench/coverage.py."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from lesionlab.evaluation.intervals import MINIMUM_GROUPS
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS

PROPORTIONS = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "accuracy",
    "top_2_accuracy",
    "top_3_accuracy",
    "ppv at 2 %",
    "net benefit at 0.2",
    "net benefit at 0.5",
)
CALIBRATION = ("slope", "intercept", "observed_expected")
HEADLINE = (
    "balanced_accuracy",
    "balanced_accuracy_prior_corrected",
    "f1_macro",
    "hand_till_auc",
    "mcc",
    "kappa",
    "quadratic_kappa",
    "nll",
    "brier",
)
SHOWN_METRICS = (*PROPORTIONS, *RANKING_METRICS, "f1", *HEADLINE, *CALIBRATION)
# Proportions that do not depend on the scarcer class alone.
ALL_GROUPS = ("specificity", "accuracy", "top_2_accuracy", "top_3_accuracy")


def page(
    cells: list[dict[str, Any]], pairs: list[dict[str, Any]], required: float, others: list[str]
) -> str:
    """The whole page; `others` are sections that another script wrote."""
    two = [c for c in cells if c["cell"]["classes"] == 2]
    seven = [c for c in cells if c["cell"]["classes"] > 2]
    return "\n".join(
        [
            HEAD.format(studies=min(c["studies"] for c in cells), required=required * 100),
            minima(),
            "\n## The designs\n",
            designs(cells),
            "\n## Ours, two classes\n",
            table(two, "ours", required),
            "\n## Ours, seven classes in the proportions of HAM10000\n",
            table(seven, "ours", required),
            "\n## Paired differences\n",
            differences(pairs, required),
            *others,
            "\n## For comparison: ranking metrics before the degrees of freedom knew of tails\n",
            table(two, "before", required),
            "\n## For comparison: the plain percentile interval of the same resamples\n",
            table(two, "percentile", required),
            "",
            table(seven, "percentile", required),
            "\n## For comparison: groups ignored (Wilson, DeLong)\n",
            table(two, "no groups", required),
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

How the intervals are made: `lesionlab/evaluation/limits.py`; which metric gets which:
`metric_table.py`. In short: proportions by Wilson's interval on the effective n of the groups
with a t quantile; ranking metrics, F1, MCC and kappa by a t interval on the logit scale with the
variance of the clustered bootstrap (of DeLong where every group is one image); means over classes
by MOVER; losses on the log scale.
The degrees of freedom are those of the rarer class; fewer where the variance hangs on few groups
(their kurtosis: docs/decisions/0331-heavy-tails.md). Designs "t5" have scores of heavy tails
(Student's t with 5 degrees of freedom): there the interval is up to 3 points short of 95 with few
positive groups, because cases far out are rare and a study often holds none of them.
Plain percentile intervals cover less, especially with few groups. Intervals that ignore the groups
cover far too little. The expected calibration error has no interval here: in the last row of the
percentile table its percentile interval contains the true value (0, since the simulated
probabilities are exact) in no study.

## The minimum number of effective groups of the scarcer class
"""


def minima() -> str:
    """The table of stated minima."""
    rows = [
        f"| {', '.join(metrics)} | {plain} | {hard} |"
        for (plain, hard), metrics in groupby(SHOWN_METRICS, _minima)
    ]
    head = "| metrics | groups | of two classes (means), or of groups with several classes |"
    return "\n".join([head, "|---|---:|---:|", *rows])


def _minima(metric: str) -> tuple[int, int]:
    return minimum(metric), minimum(metric, hard=True)


def minimum(metric: str, classes: int = 2, hard: bool = False) -> int:
    """The number of effective groups below which there is no interval; 0 where there is none."""
    if metric in PROPORTIONS:
        return MINIMUM_GROUPS["proportion"]
    if metric == "f1" or metric in CALIBRATION:
        return MINIMUM_GROUPS["f1" if metric == "f1" else "calibration"]
    if classes == 2 and metric in RANKING_METRICS:
        row = RANKING_METRICS[metric]
        return row.minimum_mixed if hard and row.minimum_mixed else row.minimum
    if metric not in METRICS:
        return 0
    mean = METRICS[metric]
    return mean.minimum_hard if hard and mean.minimum_hard else mean.minimum


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


def table(cells: list[dict[str, Any]], method: str, required: float) -> str:
    """Metrics in rows, designs in columns."""
    measured = {key for c in cells for key in c["tally"]}
    metrics = [m for m in (*SHOWN_METRICS, "ece") if f"{m}|{method}" in measured]
    head = "| metric | true | " + " | ".join(c["cell"]["name"] for c in cells) + " |"
    rows = []
    for metric in metrics:
        figures = [figure(c, metric, method, required) for c in cells]
        true = next(c["true"][metric] for c in reversed(cells) if metric in c["true"])
        rows.append(f"| {metric} | {true:.3f} | " + " | ".join(figures) + " |")
    return "\n".join([head, "|---|---:|" + "---:|" * len(cells), *rows])


def figure(c: dict[str, Any], metric: str, method: str, required: float) -> str:
    """One coverage in percent."""
    given, above, below, _, _ = c["tally"].get(f"{metric}|{method}", [0, 0, 0, 0, 0])
    if not given:
        return ""
    coverage = 1 - (above + below) / given
    text = f"{coverage * 100:.1f}"
    scarcer = c["scarcer groups"] if metric not in ALL_GROUPS else c["cell"]["groups"]
    design = c["cell"]
    mixed = design["labels"] == "image"
    ranking = design["classes"] == 2 and metric in RANKING_METRICS
    hard = mixed or (design["classes"] == 2 and not ranking)
    needed = minimum(metric, design["classes"], hard) if method == "ours" else 0
    if scarcer < needed - 0.5:
        return f"({text})"
    return f"**{text}**" if coverage < required - 1e-9 else text


def thresholds(cells: list[dict[str, Any]]) -> str:
    """How often the true sensitivity of a chosen threshold is 0.95 or more."""
    rows = []
    for c in cells:
        bound, point = c["threshold"]["sensitivity_bound"], c["threshold"]["sensitivity"]
        if not point[1]:
            continue  # a design whose true sensitivities are not known
        kept = f"{bound[0] / bound[1]:.1%}" if bound[1] else "refused"
        rows.append(f"| {c['cell']['name']} | {kept} | {bound[1]} | {point[0] / point[1]:.1%} |")
    text = (
        "The proportion of studies in which the threshold that was chosen has a true sensitivity\n"
        "of at least 0.95: by the lower bound (the default; 95 % promised), in how many studies\n"
        "it was not refused (59 effective positive groups are needed), and by the point estimate.\n"
    )
    head = ["| design | lower bound | of studies | point estimate |", "|---|---:|---:|---:|"]
    return "\n".join([text, *head, *rows])


def differences(pairs: list[dict[str, Any]], required: float) -> str:
    """Coverage of the interval of a paired difference, now and in the first edition."""
    metrics = {key.split("|")[0]: None for c in pairs for key in c["tally"]}
    names = [c["design"]["name"] for c in pairs]
    head = "| metric | " + " | ".join(names) + " |"
    rows = [
        f"| {m} | " + " | ".join(_difference(c, m, required) for c in pairs) + " |" for m in metrics
    ]
    described = [
        "| {name} | {groups} | {positive} | {images} | {icc} | {both} | {common} |".format(
            **c["design"], both=f"{c['design']['auc'][0]} and {_second(c)}"
        )
        for c in pairs
    ]
    studies = min(c["studies"] for c in pairs)
    return "\n".join(
        [
            DIFFERENCES.format(studies=studies, false=_false(pairs)),
            "| design | groups | positive | images each | ICC | AUC | common |",
            "|---|---:|---:|---:|---:|---|---:|",
            *described,
            "",
            head,
            "|---|" + "---:|" * len(pairs),
            *rows,
        ]
    )


DIFFERENCES = """Two models on the same images (`bench/coverage_pairs.py`, {studies:,} studies a
design, 400 resamples). The first number is the coverage of the interval, the second that of the
first edition (DeLong +- 1.96 SE, or t with the spread of the bootstrap's differences). In
brackets: below the minimum of groups, where `compare` gives no interval in most of these studies.
"Common" is the proportion of a score's variance that both models have in common. Of five equal
models it is counted whether all ten intervals hold 0. False sentences "a difference above ... is
excluded", over all designs, metrics and studies: {false}.
"""


def _second(c: dict[str, Any]) -> str:
    if len(c["design"]["auc"]) > 2:
        return "four more"
    return "four readers" if c["design"]["name"].startswith("readers") else c["design"]["auc"][1]


def _false(pairs: list[dict[str, Any]]) -> str:
    """The percentage of wrong exclusions, now and before."""
    text = {}
    for kind in ("now", "before"):
        rows = [v for c in pairs for k, v in c["tally"].items() if k.endswith(f"|{kind}")]
        given, wrong = sum(r[0] for r in rows), sum(r[2] for r in rows)
        text[kind] = f"{wrong / given:.1%}"
    return f"{text['now']} now, {text['before']} before"


def _difference(c: dict[str, Any], metric: str, required: float) -> str:
    now, before = (c["tally"].get(f"{metric}|{kind}") for kind in ("now", "before"))
    if not now or not now[0]:
        return ""
    share = now[1] / now[0]
    text = f"{share * 100:.1f}"
    if c.get("enough", {}).get(metric, c["studies"]) < 0.5 * c["studies"]:
        text = f"({text})"
    elif share < required - 1e-9:
        text = f"**{text}**"
    return f"{text}, {before[1] / before[0] * 100:.1f}"
