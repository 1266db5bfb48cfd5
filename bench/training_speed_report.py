"""The page of the speed benchmark from its results: no figure in it is typed by hand."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from preset_runs import replace_between

Row = dict[str, Any]
BEGIN, END = "<!-- training speed: begin -->", "<!-- training speed: end -->"
OURS, REFERENCE = "lesionlab", "bare torch loop"
GOALS = {"speed": (4.0, 1.5), "frozen": (40.0, 5.0)}  # of fastai, of the fastest peer


def write_page(kept: Path, page: Path) -> None:
    """Put the tables between the marks of a page."""
    content = json.loads(kept.read_text(encoding="utf-8"))
    rows = content["rows"]
    parts = [
        *about(rows),
        *speed_table(rows),
        *frozen_table(rows),
        *quality_table(rows),
        *goals_table(rows),
    ]
    replace_between(page, BEGIN, END, "\n".join(parts))


def quiet(rows: list[Row]) -> bool:
    """Whether every measured row ran alone: only then is its wall clock worth printing."""
    measured = [r for r in rows if r["job"] != "quality"]
    return bool(measured) and all(r["quiet"] for r in measured)


def about(rows: list[Row]) -> list[str]:
    """What was measured and how."""
    steps = sorted({r["steps"] for r in rows if "steps" in r})
    counted = " to ".join(map(str, dict.fromkeys((steps[0], steps[-1])))) if steps else "no"
    loads = [r["load"][0] for r in rows]
    threads = sorted({r["threads"] for r in rows})
    how = (
        "at real-time priority on an otherwise shared machine: wall clock of the median step"
        if quiet(rows)
        else f"while other work ran on the machine (load {min(loads):.0f} to {max(loads):.0f} on 2 "
        f"cores), so a rate is images per 2 core-seconds of the process's own processor time, with "
        f"{' or '.join(map(str, threads))} thread(s) each: ratios hold, wall clocks do not"
    )
    return [
        f"MobileNetV2 at {rows[0]['trial']['size']} px, batch 64, flips and lighting, HAM10000 "
        f"split by lesion, ImageNet weights (the same file for all; Keras' features differ from "
        f"torch's by {apart(rows)}). Each job is its own process; {counted} steps of 64 images are "
        f"counted after a warm-up, {how}. "
        f"2 cores, AMX and AVX-512 BF16; {min(r['when'] for r in rows)[:10]}.",
        "",
    ]


def apart(rows: list[Row]) -> str:
    """The largest difference between Keras' and torch's features, float32."""
    found = [r["features_apart"] for r in rows if r.get("features_apart", 1) < 1e-2]
    return f"{max(found):.0e}" if found else "an amount not measured"


def rate(row: Row, alone: bool) -> float:
    """Images per second."""
    return float(row["images_per_second" if alone else "images_per_two_core_seconds"])


def label(row: Row) -> str:
    """Peer, version, precision, variant."""
    variant = f", {row['variant']}" if row["variant"] else ""
    return f"{row['peer']} {row['version']}, {row['precision']}{variant}"


def best(rows: list[Row], job: str, peer: str, alone: bool) -> Row | None:
    """The fastest row of a peer."""
    some = [r for r in rows if r["job"] == job and r["peer"] == peer]
    return max(some, key=lambda r: rate(r, alone), default=None)


def peers(rows: list[Row]) -> list[str]:
    """Libraries that people use: neither ours nor the loop written by hand."""
    return sorted({r["peer"] for r in rows} - {OURS, REFERENCE})


def speed_table(rows: list[Row]) -> list[str]:
    """Fine-tuning, steady state."""
    alone = quiet(rows)
    some = [r for r in rows if r["job"] == "speed"]
    ours = best(rows, "speed", OURS, alone)
    lines = [
        "### Fine-tuning all layers, steady state",
        "",
        "| | images/s | speed-up of lesionlab | peak memory, MiB |",
        "|---|---|---|---|",
    ]
    for row in sorted(some, key=lambda r: -rate(r, alone)):
        ratio = f"{rate(ours, alone) / rate(row, alone):.2f}" if ours else "not measured"
        lines.append(f"| {label(row)} | {rate(row, alone):.1f} | {ratio} | {row['peak_mib']:,} |")
    return [*lines, ""]


def stage_seconds(row: Row, alone: bool) -> float:
    """Seconds of a frozen stage of all images: measured (ours), or extrapolated from its rates."""
    trial = row["trial"]
    images, epochs = trial["whole_images"], trial["frozen_epochs"]
    if row["job"] == "frozen-speed":
        scale = 1.0 if alone else rate(row, alone) / float(row["images_per_second_mean"])
        forward = row["valid_images_per_second"] * scale
        return float(epochs * (images["train"] / rate(row, alone) + images["valid"] / forward))
    seconds = float(row["seconds"] if alone else row["cpu"] / 2)
    if row["variant"] == "some":  # the trial's images; frozen features cost alike for each
        seconds *= sum(images.values()) / (trial["train_images"] + trial["valid_images"])
    return seconds


def frozen_rows(rows: list[Row]) -> list[Row]:
    """Ours measured on as much as there is; peers by their rates."""
    ours = [r for r in rows if r["job"] == "frozen-stage"]
    whole = [r for r in ours if r["variant"] in ("cold", "warm")]
    return [*(whole or ours), *(r for r in rows if r["job"] == "frozen-speed")]


def frozen_table(rows: list[Row]) -> list[str]:
    """A frozen stage of 10 epochs."""
    alone, trial = quiet(rows), rows[0]["trial"]
    images, ours = trial["whole_images"], our_stage(rows)
    lines = [
        f"### A frozen stage of {trial['frozen_epochs']} epochs",
        "",
        f"{images['train']:,} images to train on and {images['valid']:,} to validate on. Peers run "
        "the backbone for every image of every epoch. Their time is extrapolated from the rates of "
        "their training steps and of their validation. lesionlab runs it once; `cold` decodes the "
        "images first, `warm` has the decoded images and features of an earlier run, `some` is "
        "measured on the trial's images and scaled.",
        "",
        "| | seconds | times the seconds of lesionlab, cold |",
        "|---|---|---|",
    ]
    for row in sorted(frozen_rows(rows), key=lambda r: stage_seconds(r, alone)):
        seconds = stage_seconds(row, alone)
        ratio = f"{seconds / ours:.{1 if seconds >= ours else 2}f}" if ours else "not measured"
        lines.append(f"| {label(row)} | {seconds:,.0f} | {ratio} |")
    return [*lines, ""]


def our_stage(rows: list[Row]) -> float | None:
    """Our frozen stage from the images on: the slowest of ours (nothing cached before)."""
    alone = quiet(rows)
    mine = [stage_seconds(r, alone) for r in frozen_rows(rows) if r["peer"] == OURS]
    return max(mine, default=None)


def quality_table(rows: list[Row]) -> list[str]:
    """Macro AUC after the same epochs, and the time to it."""
    some = [r for r in rows if r["job"] == "quality"]
    trial = some[0]["trial"] if some else rows[0]["trial"]
    lines = [
        "### Macro AUC on validation after the same epochs",
        "",
        f"{trial['frozen_epochs']} frozen epochs, then {trial['tuned_epochs']} of all layers, on "
        f"{trial['train_images']:,} training images (the bounded trial, not the whole set), "
        f"{trial['valid_images']:,} validation images. The figures are those of each stage's last "
        "epoch: the validation split chose nothing here. Each library with its own usual head and "
        "optimiser settings; " + how_quality_ran(some) + "time in seconds of 2 cores (processor "
        "time / 2).",
        "",
        "| | seeds | frozen: AUC | all: AUC | time, 2-core s |",
        "|---|---|---|---|---|",
    ]
    for peer in [OURS, *peers(rows), REFERENCE]:
        mine = [r for r in some if r["peer"] == peer]
        if not mine:
            lines.append(f"| {peer} | not measured | | | |")
            continue
        frozen, tuned = ends(mine)
        time = statistics.mean(r["reached"][-1][1] for r in mine)
        lines.append(f"| {peer} | {len(mine)} | {spread(frozen)} | {spread(tuned)} | {time:,.0f} |")
    return [*lines, ""]


def how_quality_ran(rows: list[Row]) -> str:
    """Threads and priority, which may differ from those of the speed jobs."""
    if not rows:
        return ""
    threads = " or ".join(sorted({str(r["threads"]) for r in rows}))
    priority = "real-time" if all(r["quiet"] for r in rows) else "usual"
    return f"threads: {threads}, at {priority} priority beside other work; "


def ends(rows: list[Row]) -> tuple[list[float], list[float]]:
    """Macro AUC at the end of the frozen stage and at the end."""
    last = [r["reached"][-1][2] for r in rows]
    return [r["reached"][0][2] for r in rows], last


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    sd = f" (SD {statistics.stdev(values):.3f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{sd}"


def goals_table(rows: list[Row]) -> list[str]:
    """Each goal, what was measured, and whether it is reached."""
    lines = ["### Goals", "", "| goal | measured | |", "|---|---|---|"]
    for name, (of_fastai, of_fastest) in GOALS.items():
        ratios = ratios_of(rows, name)
        for who, least in (("fastai", of_fastai), ("the fastest peer", of_fastest)):
            lines.append(goal(f"{name}: at least {least:g} times {who}", ratios.get(who), least))
    return [*lines, goal_of_time(rows), ""]


def ratios_of(rows: list[Row], name: str) -> dict[str, float]:
    """How many times faster we are than fastai and than the fastest peer."""
    alone = quiet(rows)
    if name == "speed":
        ours = best(rows, "speed", OURS, alone)
        others = {p: best(rows, "speed", p, alone) for p in peers(rows)}
        found = {p: rate(ours, alone) / rate(r, alone) for p, r in others.items() if r and ours}
    else:
        stage = our_stage(rows)
        some = [r for r in rows if r["job"] == "frozen-speed" and r["peer"] in peers(rows)]
        seconds: dict[str, float] = {}
        for row in some:
            time = stage_seconds(row, alone)
            seconds[row["peer"]] = min(time, seconds.get(row["peer"], time))
        found = {p: s / stage for p, s in seconds.items() if stage}
    if found:
        found["the fastest peer"] = min(found.values())
    return found


def goal(text: str, value: float | None, least: float) -> str:
    """One line: reached or missed."""
    if value is None:
        return f"| {text} | not measured | |"
    return f"| {text} | {value:.2f} | {'reached' if value >= least else 'missed'} |"


def goal_of_time(rows: list[Row]) -> str:
    """Time to the macro AUC that the fastest peer ends with, on the bounded trial."""
    text = "time to the macro AUC that the fastest peer ends with: at most half its time"
    some = [r for r in rows if r["job"] == "quality"]
    mine = [r for r in some if r["peer"] == OURS]
    others = {p: [r for r in some if r["peer"] == p] for p in peers(rows)}
    times = {
        p: statistics.mean(r["reached"][-1][1] for r in found)
        for p, found in others.items()
        if found
    }
    if not mine or not times:
        return f"| {text} | not measured | |"
    fastest = min(times, key=lambda p: times[p])
    aim = statistics.mean(ends(others[fastest])[1])
    first = [next((t[1] for t in r["reached"] if t[2] >= aim), None) for r in mine]
    if any(t is None for t in first):
        got = sum(t is not None for t in first)
        return f"| {text} | {aim:.3f} reached by {got} of {len(first)} seeds | missed |"
    share = statistics.mean(t for t in first if t is not None) / times[fastest]
    verdict = "reached" if share <= 0.5 else "missed"
    return f"| {text} ({fastest}: {aim:.3f}) | {share:.2f} of it | {verdict} |"
