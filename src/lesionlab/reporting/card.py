"""MODEL_CARD.md: what a model is, what it was made from, what it can and cannot do.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. What is unknown says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lesionlab.config import InputSettings
from lesionlab.data.images import Preprocessing
from lesionlab.deployment.schema import BundledConformal, BundleInfo, point_name
from lesionlab.errors import one_line
from lesionlab.evaluation.intervals import Measure

NOT_PROVIDED = "NOT PROVIDED"
SPECIAL = "\\`*_{}[]()#+!|<>~"
HEADLINE = 12  # metrics shown of each part


def model_card(info: BundleInfo, metrics: Mapping[str, Any] | None = None) -> str:
    """The card of a bundle, as Markdown.

    `metrics` maps a part ("test", "valid") to what `evaluate` wrote for it. Names from the data
    are escaped: a class called `<img onerror>` stays text.
    """
    parts = (
        [f"# {plain(info.name)}", *_warnings(info)],
        _about(info),
        _use(info),
        _data(info),
        _decisions(info),
        _performance(metrics or {}),
        _limits(info),
        _technical(info),
    )
    return "\n".join("\n".join(part) + "\n" for part in parts)


def plain(text: object) -> str:
    """Text that Markdown and HTML show as it is, on one line.

    >>> plain("<b>a_b</b>")
    '\\\\<b\\\\>a\\\\_b\\\\</b\\\\>'
    """
    return "".join("\\" + c if c in SPECIAL else c for c in one_line(str(text)))


def shown(measure: Measure | Mapping[str, Any] | None) -> str:
    """A measured number with its interval and n, or that there are too few data for one."""
    if measure is None:
        return NOT_PROVIDED
    m = measure.to_json() if isinstance(measure, Measure) else measure
    if m.get("value") is None:
        return "undefined"
    n = "" if m.get("n") is None else f", n = {m['n']:g}"
    if m.get("low") is None:
        return f"{m['value']:.3f} (too few groups for an interval{n})"
    return f"{m['value']:.3f} (95 % CI {m['low']:.3f} to {m['high']:.3f}{n})"


def _warnings(info: BundleInfo) -> Iterable[str]:
    yield ""
    yield "> **Research use only.** Not a medical device. Nothing here is advice to a patient."
    if info.leaky:
        yield ">"
        yield (
            "> **LEAKY.** Images of the same patient or lesion are in the training and the test "
            f"set. The performance below is optimistic. {plain(info.leak_reason)}"
        )
    if info.synthetic:
        yield ">"
        yield "> **SYNTHETIC.** This model was trained on drawn pictures, not on images of skin."


def _about(info: BundleInfo) -> list[str]:
    training = info.training
    return [
        "## Model",
        "",
        f"- Network: {plain(training.model)}, preset {plain(training.preset)}, "
        f"seed {training.seed}",
        f"- Initial weights: {_started_from(training.weights)}",
        f"- Made with lesionlab {plain(info.lesionlab_version)}, {plain(info.created)}",
        f"- Classes: {', '.join(map(plain, info.classes))}",
        f"- Malignant classes: {', '.join(map(plain, info.malignant)) or NOT_PROVIDED}",
        f"- Precision: {info.precision}",
    ]


def _started_from(weights: Mapping[str, str]) -> str:
    """The pre-trained weights, with their licence and hash."""
    if not weights:
        return "random weights"
    told = [plain(weights[key]) for key in ("source", "body", "all") if key in weights]
    known = [f"{key} {plain(weights[key])}" for key in ("licence", "sha256") if key in weights]
    return "; ".join([", ".join(dict.fromkeys(told)), *known])


def _use(info: BundleInfo) -> list[str]:
    what = plain(info.training.modality or "unknown")
    return [
        "## Use",
        "",
        f"- Intended use: research on images of the modality of its training data ({what}).",
        "- Out of scope: diagnosis, triage or reassurance of a person; other modalities; images "
        "that it flags as unlike the training images.",
        "- A single image is not a diagnosis: history, palpation and change over time are missing.",
    ]


def _data(info: BundleInfo) -> list[str]:
    training = info.training
    counts = ", ".join(f"{plain(p)} {n}" for p, n in training.images.items())
    rows = [f"| {plain(c)} | {n} | {info.prior[c]:.4f} |" for c, n in training.classes.items()]
    return [
        "## Data",
        "",
        f"- Data set: {plain(training.dataset)} (source: {plain(training.source)}, "
        f"licence: {plain(training.licence)})",
        f"- Images by split: {counts}",
        f"- Trained on: {'regions of images' if training.regions else 'whole images'}",
        "- Skin types, ages and sites of the patients: see the report of the run, where known.",
        "",
        "| class | training images | assumed prevalence |",
        "|---|---|---|",
        *rows,
    ]


def _decisions(info: BundleInfo) -> list[str]:
    lines = [
        "## Probabilities and decisions",
        "",
        "Probabilities are calibrated at the prevalence in the table above "
        f"(temperature {info.temperature:.3f}). They do not hold at another prevalence.",
        "",
        *(f"- Calibration: {plain(note)}." for note in info.calibration_notes),
    ]
    for point in info.operating_points:
        lines += [
            f"- Operating point {plain(point_name(point))}, chosen on {plain(point.chosen_on)}: "
            f"positive where {' + '.join(map(plain, point.score))} >= {point.threshold:.4g}; "
            f"on that split, sensitivity {shown(point.sensitivity)}, "
            f"specificity {shown(point.specificity)}.",
        ]
    if not info.operating_points:
        why = plain(info.no_operating_point)
        lines.append(f"- Operating point: {f'none ({why})' if why else NOT_PROVIDED}")
    for one in info.conformal:
        lines.append(
            f"- Conformal sets at {one.name}: {one.method}, calibrated on "
            f"{plain(one.calibrated_on)} with {', '.join(_groups(one))} groups."
            + "".join(f" {plain(w)}." for w in one.warnings)
        )
    return lines


def _groups(rule: BundledConformal) -> Iterable[str]:
    return (f"{n} {plain(c)}" for c, n in zip(rule.classes, rule.groups, strict=True))


def _performance(metrics: Mapping[str, Any]) -> list[str]:
    lines = ["## Performance", ""]
    if not metrics:
        return [
            *lines,
            f"{NOT_PROVIDED}: the run was exported before `lesionlab evaluate` was run.",
        ]
    for part, found in metrics.items():
        title = "Test (sealed, used once)" if part == "test" else "Validation (used for tuning)"
        lines += [f"{title}: n = {found['n']}, resampled by {plain(found['resampled'])}.", ""]
        lines += ["| metric | value |", "|---|---|"]
        measures = list(found["metrics"].items())[:HEADLINE]
        lines += [f"| {plain(name)} | {shown(m)} |" for name, m in measures]
        lines += [f"| always the majority class | {plain(found['majority_class'])} |", ""]
    return lines


def _limits(info: BundleInfo) -> list[str]:
    lines = [
        "## Limits",
        "",
        "- Performance holds for images like those evaluated here. It is usually lower elsewhere.",
        "- Equal performance on all skin types, ages and devices has not been shown.",
    ]
    if info.ood is not None:
        lines.append(
            "- Two distances in the embedding flag images that are unlike the training images. "
            f"{info.ood.expected_rate:.1%} of {info.ood.n} {plain(info.ood.fitted_on)} images are "
            "flagged too. A picture that misleads the network may also mislead the distances."
        )
    return lines


def _int8(info: BundleInfo) -> list[str]:
    cost = info.int8
    if cost is None:
        return []
    return [
        f"- int8, {'per channel' if cost['per_channel'] else 'per tensor'}: AUC "
        f"{cost['auc_float32']:.4f} before, {cost['auc_int8']:.4f} after, loss at most "
        f"{cost['upper']:.4f} (one-sided 95 % bound, {cost['positives']} positives)",
        f"- int8 on processors without VNNI: {plain(cost['without_vnni'])}",
    ]


def _kept(how: InputSettings) -> str:
    """How much of the resized picture the network sees, where that is not all of it."""
    side = Preprocessing(**how.model_dump()).resized_side
    return "" if side == how.size else f", the centre of {side} x {side} (crop {how.crop:g})"


def _technical(info: BundleInfo) -> list[str]:
    how, parity = info.preprocessing, info.parity
    return [
        "## Technical",
        "",
        f"- Input: {how.size} x {how.size} x {how.channels}, {how.fit}, {how.interpolation}"
        f"{_kept(how)}; outputs: "
        f"{', '.join(info.outputs)}",
        f"- Agreement with the original network on {parity.images} {plain(parity.part)} images: "
        f"probabilities differ by at most {parity.max_probability_difference:.2g}",
        *_int8(info),
        f"- Data fingerprint: {plain(info.training.fingerprint)}",
        "- Hashes of all files: `bundle.json`",
    ]
