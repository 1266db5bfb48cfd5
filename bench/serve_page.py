"""docs/deployment-figures.md from the result files of the other bench/serve_*.py scripts.

    python bench/serve_page.py RESULTS --bundle BUNDLE [--int8 BUNDLE] > docs/deployment-figures.md

RESULTS holds parity.json, parity8.json, load.json, ood.txt, decode.json, folder.json and fuzz.txt,
as far as they were measured; what is missing is said to be missing.
"""

# ruff: noqa: E501 (sentences of a page)
from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEAD = """# Deployment: what was measured

Made by `bench/serve_page.py` from result files; each section names its command. Machine: 2 shared cores, AVX-512 with
VNNI and BF16, other work running beside it unless it says quiet. Bundle: the fine-tuned MobileNetV2 of HAM10000
(`ham10000-mobilenetv2-finetuned`, seed 0, 224 px). Research use only.

The training images are 256 px copies of the centre 450 x 450 of the 600 x 450 originals. Figures "on validation" are
optimistic: that split chose the epoch, fitted the temperature, and chose the thresholds and the kind of int8, which is
judged on it too."""


def measure(m: dict[str, Any]) -> str:
    return f"{m['value']:.3f} ({m['low']:.3f} to {m['high']:.3f}, n = {m['n']:g})"


def bundle_section(folder: Path, small: Path | None) -> Iterator[str]:
    info = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    size = sum(f["bytes"] for f in info["files"].values()) / 1e6
    p, ood = info["parity"], info["ood"]
    yield "## The bundle"
    yield "`lesionlab export RUN --to BUNDLE --web PAGE --sign KEY`; `lesionlab verify BUNDLE --key KEY.pub`\n"
    yield f"- {size:.1f} MB, outputs {', '.join(info['outputs'])}."
    yield (
        f"- Agreement with the original network on {p['images']} validation images: probabilities "
        f"differ by at most {p['max_probability_difference']:.2g} (mean "
        f"{p['mean_probability_difference']:.2g}; {p['tolerance']:g} is allowed); from the run's own "
        f"`predictions-valid.csv` by at most {p['max_difference_to_run']:.2g}."
    )
    for point in info["operating_points"]:
        yield (
            f"- Operating point {point['policy']} {point['target']:g}, threshold "
            f"{point['threshold']:.4f}, on validation: sensitivity {measure(point['sensitivity'])}, "
            f"specificity {measure(point['specificity'])}."
        )
    yield (
        f'- "Not like the training images": thresholds from {ood["n"]} validation images, of which '
        f"{100 * ood['expected_rate']:.1f} % are flagged."
    )
    if small is not None:
        yield from int8_lines(json.loads((small / "bundle.json").read_text(encoding="utf-8")))


def int8_lines(info: dict[str, Any]) -> Iterator[str]:
    cost, size = info["int8"], sum(f["bytes"] for f in info["files"].values()) / 1e6
    way = "per channel" if cost["per_channel"] else "per tensor"
    yield (
        f"- `--int8` ({way}, {cost['calibration_images']} training images for calibration): published, "
        f"{size:.1f} MB. AUC malignant against benign {cost['auc_float32']:.4f} in float32, "
        f"{cost['auc_int8']:.4f} in int8 on {cost['positives']} positives; the loss is at most "
        f"{cost['upper']:.4f} (one-sided 95 % bound, lesions resampled; 0.01 is allowed). One "
        f"image's probability moves by up to {cost['max_probability_difference']:.2f}: thresholds "
        "are refitted, and int8 is for whoever needs its size."
    )


def parity_section(found: dict[str, Any], small: dict[str, Any] | None) -> Iterator[str]:
    yield "\n## The same 30 images: Python, REST, the page in a browser"
    yield "`python bench/serve_parity.py BUNDLE PAGE ham10000-fullsize-30.zip` (600 x 450 originals)\n"
    n = found["images"]
    yield (
        f"{found['browser']}: the page was opened once, the network switched off, the page loaded "
        f"again. Requests to others: {found['foreign_requests']}; errors: "
        f"{len(found['page_errors'])}. **Pixels that the network is shown, equal byte for byte: "
        f"{found['equal_pixels']} of {n}.** {found['positive']} positive, "
        f"{found['no_decision']} without a decision.\n"
    )
    yield "| pair | probabilities differ by at most | same decision | same set | same flag |"
    yield "|---|---|---|---|---|"
    rows = [("float32", found)] + ([("int8", small)] if small else [])
    for kind, result in rows:
        for pair in ("python_rest", "python_browser", "rest_browser"):
            p = result[pair]
            yield (
                f"| {kind}, {pair.replace('_', ' - ')} | {p['max_probability_difference']:.2g} | "
                f"{p['same_decision']}/{n} | {p['same_sets']}/{n} | {p['same_flag']}/{n} |"
            )
    yield "\nThe promise (1e-3, same decisions) is one of float32 bundles."
    if small:
        yield (
            "WebAssembly has no VNNI: the int8 rows show what another processor's kernels, which "
            "round apart between layers, do to an int8 bundle."
        )


def decode_section(found: dict[str, Any]) -> Iterator[str]:
    yield "\n## A 10-megapixel JPEG"
    yield "`python bench/serve_decode.py BUNDLE ham10000-fullsize-30.zip --room ROOM` (enlarged, quality 90)\n"
    yield "| JPEG | n | draft, ms (median, worst) | in full, ms | grey levels apart | probabilities apart (median, worst) | same decision |"
    yield "|---|---|---|---|---|---|---|"
    for kind in ("4:2:0", "4:4:4"):
        f = found[kind]
        yield (
            f"| {kind} | {f['images']} | {f['draft_ms_median']}, {f['draft_ms_max']} | "
            f"{f['full_ms_median']} | {f['max_grey_levels']} | "
            f"{f['median_probability_difference']:.2g}, {f['max_probability_difference']:.2g} | "
            f"{f['same_decision']}/{f['images']} |"
        )
    yield (
        f"\nCPU milliseconds of one thread, file bytes to network pixels, the least of five, from "
        f"{found.get('conditions', 'a quiet machine')}. The stated bound of the draft is "
        f"{found['bound']} grey levels; it holds from 4 megapixels, outside the promise above "
        "(`--no-draft` turns it off)."
    )


def load_section(found: dict[str, Any]) -> Iterator[str]:
    t, o, s = found["throughput"], found["overload"], found["swap"]
    yield "\n## Load"
    yield "`python bench/serve_load.py BUNDLE IMAGE...` (30 real JPEGs, 600 x 450; client on the same cores)\n"
    yield "| round | in-process loop, images/s | HTTP, requests/s | share | p50 | p95 | p99, ms |"
    yield "|---|---|---|---|---|---|---|"
    for n, r in enumerate(t["rounds"], 1):
        yield (
            f"| {n} | {r['in_process_per_second']} | {r['answered_per_second']} | {r['share']} | "
            f"{r['p50_ms']} | {r['p95_ms']} | {r['p99_ms']} |"
        )
    yield (
        f"\nMedian share {t['median_share']:.2f} (0.70 was asked for), {t['cores']} cores, "
        f"{found.get('conditions', 'other work beside it')}.\n"
    )
    said = ", ".join(f"{n} times {code}" for code, n in sorted(o["statuses"].items()))
    yield (
        f"- Overload, {o['clients']} clients for {o['places']} places, {o['seconds']} s: {said}, "
        f"nothing else; {o['broken_connections']} broken connections. Resident memory at most "
        f"{o['memory_mb_first_half_max']} MB in the first half, {o['memory_mb_second_half_max']} MB "
        f"in the second. Alive: {'yes' if o['alive'] else 'no'}."
    )
    said = ", ".join(f"{n} times {code}" for code, n in sorted(s["statuses"].items()))
    yield (
        f"- Bundle replaced under load, {s['swaps']:g} swaps: {said}; {s['broken_connections']} "
        "broken connections."
    )
    yield (
        f"- kill -9 and start again: ready after {found['restart_after_kill_seconds']} s; then "
        f"{found['after_restart']['statuses']}. SIGTERM ends it by that signal after the drain."
    )


def ood_section(found: dict[str, Any]) -> Iterator[str]:
    yield '\n## "Not like the training images"'
    yield "`python bench/serve_ood.py BUNDLE DATASET --mias mini-mias.zip --isic2017 isic2017.zip`\n"
    yield "| pictures | n | flagged (95 % interval) | by Mahalanobis | by neighbours | median score |"
    yield "|---|---|---|---|---|---|"
    for name, f in found.items():
        low, high = f["interval"]
        yield (
            f"| {name} | {f['n']} | {f['flagged']:.2f} ({low:.2f} to {high:.2f}) | "
            f"{f['mahalanobis_alone']:.2f} | {f['knn_alone']:.2f} | {f['median_score']:.2f} |"
        )
    yield (
        "\nA score above 1 is flagged; either distance is enough. ISIC 2017 is dermoscopy from "
        "elsewhere: some of it is flagged, and most of it is not."
    )


def folder_section(found: dict[str, Any]) -> Iterator[str]:
    k, r = found["killed"], found["resumed_call"]
    yield "\n## A folder of many images"
    yield "`python bench/predict_folder.py BUNDLE FOLDER --csv OUT.csv`\n"
    yield (
        f"{found['images']} images{found.get('what', '')}; killed with SIGKILL after {k['rows_then']} "
        f"rows, the second call went on with {found['resumed']} rows there. {found['rows']} rows, "
        f"{found['rows_repeated']} repeated, {found['errors']} unreadable, left behind: "
        f"{found['left_behind'] or 'nothing'}. Resident memory of the second call at most "
        f"{r['memory_mb_max_first_half']} MB in its first half, {r['memory_mb_max_second_half']} MB "
        f"in its second; {r['seconds']} s."
    )


def read(path: Path) -> Any:
    if not path.is_file() or not path.read_text(encoding="utf-8").strip():
        return None
    text = path.read_text(encoding="utf-8").strip()
    return json.loads(text.splitlines()[-1] if path.suffix == ".txt" else text)


def lines(given: argparse.Namespace) -> Iterator[str]:
    yield HEAD + "\n"
    yield from bundle_section(given.bundle, given.int8)
    sections = {
        "parity.json": lambda r: parity_section(r, read(given.results / "parity8.json")),
        "decode.json": decode_section,
        "load.json": load_section,
        "ood.txt": ood_section,
        "folder.json": folder_section,
    }
    for name, section in sections.items():
        found = read(given.results / name)
        if found is None:
            yield f"\n({name}: not measured yet)"
        else:
            yield from section(found)
    notes = given.results / "notes.md"
    if notes.is_file():
        yield "\n" + notes.read_text(encoding="utf-8").rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--int8", type=Path)
    print("\n".join(lines(parser.parse_args())))


if __name__ == "__main__":
    main()
