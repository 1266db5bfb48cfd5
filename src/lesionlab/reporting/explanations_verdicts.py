"""What the checks say of a row of the study, in words."""

from __future__ import annotations

from lesionlab.reporting.explanations_content import Json
from lesionlab.reporting.language import Language, measure_text, share


def verdict(row: Json) -> str:
    """ "passed", "failed", "unknown" (too few images), "no_map" (constant), or "reference"."""
    sanity = row.get("sanity")
    return "reference" if sanity is None else str(sanity["verdict"])


def verdict_text(row: Json, words: Language) -> str:
    """The verdict, with how many maps are constant, and what it could not ask."""
    found = verdict(row)
    counts = {"constant": f"{row.get('constant', 0):,}", "maps": f"{row.get('maps', 0):,}"}
    parts = [words(f"explain.verdict_{found}", **(counts if found == "no_map" else {}))]
    if row.get("constant") and found != "no_map":
        parts.append(words("explain.some_constant", **counts))
    if not row.get("class_specific", True):
        parts.append(words("explain.not_class_specific"))
    return "; ".join(parts)


def spread_of_draws(draws: Json, words: Language) -> dict[str, str]:
    """By the name of what was drawn several times: the lowest and highest mean of a draw."""
    found = {}
    for key, means in draws.items():
        known = [m for m in means if m is not None]
        name = words("explain.labels") if key == "labels" else words.name("level", key)
        ends = f"{share(min(known), 2)} … {share(max(known), 2)}" if known else "–"
        found[name] = f"{ends} ({len(means)})"
    return found


def completeness(row: Json, words: Language) -> str:
    """The gap, and whether it is small enough."""
    text = measure_text(row["completeness_gap"], 3)
    if row.get("complete") is None:
        return text
    key = "explain.complete" if row["complete"] else "explain.incomplete"
    return f"{text}; {words(key, steps=row['steps'])}"


def leave_one_out(a: Json, words: Language) -> str:
    """Leave-one-out agreement among the training images."""
    return words(
        "explain.leave_one_out", k=a["k"], n=f"{a['n']:,}", value=measure_text(a["share"], 3),
        chance=share(a["chance"]), balanced=measure_text(a["balanced"], 3),
        chance_balanced=share(a["chance_balanced"]),
    )  # fmt: skip
