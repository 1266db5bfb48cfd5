"""Run two commits side by side and compare every number of every artefact.

    uv run python scripts/golden.py --against COMMIT [--data FOLDER] [--work FOLDER]

COMMIT is checked out beside the tree, and both run the same commands on this machine, because
processors differ in the last bits: the demo, and, where FOLDER holds `ham10000.zip`, a frozen run
on 600 images of it with evaluate, compare, explain, export, predict, repeat (2 folds x 1 epoch),
one answer of the server and one of the browser's code. Times, paths, dates, the environment and
hashes of such things are left out; words are not compared, only numbers. Prints what differs, and
leaves with 1 where something does.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 600
FROZEN = "--preset ham10000-mobilenetv2-frozen --set input.size=64 --threads 1"
COMMANDS = """
demo --out demo --seed 0
import ham10000 ham.zip --to ham
audit ham
split ham --test 0.2 --valid 0.2 --seed 0
train ham {frozen} --weights {weights} --epochs 4 --out a
train ham {frozen} --weights {weights} --epochs 2 --seed 1 --out b
evaluate a
evaluate b
compare a b --json
evaluate a --split test
explain a --limit 6 --checks 4 --draws 2 --method cam --method gradcam --threads 1
export a --to bundle
export demo/run --to bundle-demo
predict bundle ham/images --csv answers.csv
predict bundle {image} --json
evaluate answers.csv --truth ham/manifest.csv --malignant mel,bcc,akiec --out table
repeat ham {frozen} --weights {weights} --folds 2 --seeds 1 --epochs 1 --out repeat
ensemble a b --out both
evaluate both
models mobilenetv2_100 --json
presets --json
"""

# What may differ from one run to the next: values under these names, files by these patterns.
VOLATILE = re.compile(
    r"second|_ms|^ms|elapsed|created|finished|started|began|^time|^at$|path|folder|^out$|^run$|data$"
    r"|environment|version|sha256|hash|digest|fingerprint|bytes|memory|^host|user|command|throughput"
    r"|images_per|speed|commit|chain|previous|latency",
    re.IGNORECASE,
)
SKIPPED = re.compile(r"(^|/)(cache|logs?|pixels)/|\.log$|SHA256SUMS|\.lock$|checkpoint|\.pt$")
NUMBER = re.compile(r"(?<![\w#.])-?\d+(?:[.,]\d+)*(?:e-?\d+)?(?![\w])")


def main() -> int:
    """Make both, compare, say."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", required=True, help="a commit of the past")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--weights", type=Path, default=ROOT.parent / "shared" / "weights")
    parser.add_argument("--work", type=Path, help="kept, so that a second call goes on with it")
    options = parser.parse_args()
    if options.work:
        return compared(options, options.work)
    with tempfile.TemporaryDirectory() as work:
        return compared(options, Path(work))


def compared(options: argparse.Namespace, work: Path) -> int:
    """Both trees in `work`; what was made by COMMIT before is not made again."""
    commit = git("rev-parse", "--short", options.against)
    old = work / f"tree-{commit}"
    if not old.exists():
        old.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "x", "-C", old], input=archive.stdout, check=True)
    shutil.rmtree(work / "now", ignore_errors=True)
    if not (work / commit / "complete").exists():
        shutil.rmtree(work / commit, ignore_errors=True)
        run_all(old, work / commit, options)
    run_all(ROOT, work / "now", options)
    found = list(differences(work / commit, work / "now"))
    print("\n".join(found) or "every number is equal")
    return 1 if found else 0


def git(*words: str) -> str:
    """The answer of git, in one line."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout.strip()


def run_all(tree: Path, room: Path, options: argparse.Namespace) -> None:
    """Every command of the list with the code of `tree`, in `room`; standard output is kept."""
    room.mkdir(parents=True)
    weights = sorted(options.weights.glob("mobilenetv2*.safetensors"))
    have = (options.data / "ham10000.zip").exists() and bool(weights)
    if have:
        few_images(options.data / "ham10000.zip", room / "ham.zip")
    for number, line in enumerate(COMMANDS.strip().splitlines()):
        if not have and number:
            print("no ham10000.zip and weights here: the demo alone was compared")
            break
        image = next(iter(sorted((room / "ham" / "images").glob("*"))), "") if number > 1 else ""
        words = line.format(frozen=FROZEN, weights=weights[0] if have else "", image=image)
        began = time.monotonic()
        said = lesionlab(tree, room, shlex.split(words))
        if "--json" in words:
            (room / f"said-{number}.json").write_text(said, encoding="utf-8")
        print(f"  {tree.name}: {words.split(' --')[0]} ({time.monotonic() - began:.0f} s)")
    if have:
        served(tree, room)
        browsed(tree, room)
    (room / "complete").touch()


def environment(tree: Path) -> dict[str, str]:
    """The code of `tree` stands before what is installed."""
    paths = os.pathsep.join(str(tree / name) for name in ("src", "tests"))
    return {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


def lesionlab(tree: Path, room: Path, words: list[str]) -> str:
    """Standard output of one command; stops everything where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "lesionlab", *words],
        cwd=room, env=environment(tree), capture_output=True, encoding="utf-8",
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{tree}: lesionlab {shlex.join(words)}: {done.returncode}\n{done.stderr}")
    return done.stdout


def few_images(archive: Path, to: Path) -> None:
    """Whole lesions from all over the table, 600 images or a few more, in the usual layout."""
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(to, "w") as few:
        (name,) = [n for n in whole.namelist() if n.endswith("HAM10000_metadata.csv")]
        rows = list(csv.DictReader(whole.read(name).decode("utf-8-sig").splitlines()))
        lesions = sorted({row["lesion_id"] for row in rows})
        kept: list[dict[str, str]] = []
        for lesion in lesions[:: max(1, len(lesions) * 11 // (IMAGES * 10) * 2)] + lesions[1::23]:
            if len(kept) < IMAGES:
                kept += [row for row in rows if row["lesion_id"] == lesion and row not in kept]
        lines = [",".join(kept[0]), *(",".join(row.values()) for row in kept)]
        few.writestr("HAM10000_metadata.csv", "\n".join(lines) + "\n")
        wanted = {row["image_id"] for row in kept}
        for member in whole.namelist():
            if Path(member).stem in wanted:
                few.writestr(member, whole.read(member))


def served(tree: Path, room: Path) -> None:
    """One answer over HTTP."""
    port = "8643"
    server = subprocess.Popen(
        [sys.executable, "-m", "lesionlab", "serve", "bundle", "--port", port, "--workers", "1"],
        cwd=room, env=environment(tree), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        image = sorted((room / "ham" / "images").glob("*"))[0]
        boundary = "golden"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
        body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + image.read_bytes()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/predict",
            body + f"\r\n--{boundary}--\r\n".encode(),
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        (room / "served.json").write_bytes(answer(request))
    finally:
        server.terminate()
        server.wait()


def answer(request: urllib.request.Request) -> bytes:
    """Asked again until the server has opened its bundle."""
    for _ in range(60):
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return bytes(reply.read())
        except urllib.error.HTTPError as error:
            sys.exit(f"the server says {error.code}: {error.read().decode()}")
        except OSError:
            time.sleep(1)
    sys.exit("the server did not answer")


BROWSED = """
import json
from pathlib import Path
import numpy as np
from PIL import Image
from helpers.browser_code import ANSWER, PREPARE, node
from lesionlab.deployment.bundle import INFO, read_bundle
from lesionlab.deployment.predictor import Predictor
bundle = read_bundle(Path("bundle"))
image = Image.open(sorted(Path("ham/images").glob("*"))[0]).convert("RGBA")
info = json.loads((Path("bundle") / INFO).read_text())
picture = {"width": image.width, "height": image.height, "rgba": np.asarray(image).ravel().tolist()}
size = info["preprocessing"]["size"]
floats = node(PREPARE, {"image": picture, "orientation": 1, "how": info["preprocessing"]})["floats"]
outputs = Predictor(bundle).predict_normalised(
    np.array(floats, np.float32).reshape(1, 3, size, size))
row = {"logits": outputs.logits[0].tolist(), "embedding": outputs.embedding[0].tolist()}
given = {"folder": "bundle", "info": info, "rows": [row], "abstain": "ood"}
Path("browsed.json").write_text(json.dumps(node(ANSWER, given)))
"""


def browsed(tree: Path, room: Path) -> None:
    """One answer of the page's own code, under node; left out where there is no node."""
    if shutil.which("node") is None:
        print("  no node here: the browser's code was not run")
        return
    subprocess.run([sys.executable, "-c", BROWSED], cwd=room, env=environment(tree), check=True)


def differences(old: Path, new: Path) -> Iterator[str]:
    """A line for each file that is missing, new, or has another number."""
    before, after = listed(old), listed(new)
    yield from (f"only before: {name}" for name in sorted(before - after))
    yield from (f"only now: {name}" for name in sorted(after - before))
    for name in sorted(before & after):
        a, b = (dict(numbers(folder / name)) for folder in (old, new))
        apart = [key for key in a.keys() | b.keys() if not same(a.get(key), b.get(key))]
        for key in sorted(apart)[:8]:
            yield f"{name}: {key}: {short(a.get(key))} -> {short(b.get(key))}"
        if len(apart) > 8:
            yield f"{name}: and {len(apart) - 8} more"


def short(value: Any) -> str:
    """At most 80 characters."""
    return str(value)[:80]


def listed(room: Path) -> set[str]:
    """The files whose numbers are compared."""
    names = {p.relative_to(room).as_posix() for p in room.rglob("*") if p.is_file()}
    return {n for n in names if not SKIPPED.search(n)}


def same(a: Any, b: Any) -> bool:
    """Equal, bit by bit; two NaN are equal."""
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return bool(type(a) is type(b) and a == b)


def numbers(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, number) of everything in a file that is a number."""
    if path.suffix in (".json", ".jsonl"):
        text = path.read_text(encoding="utf-8")
        for n, line in enumerate(text.splitlines() if path.suffix == ".jsonl" else [text]):
            yield from of_json(json.loads(line), str(n) if path.suffix == ".jsonl" else "")
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            for n, row in enumerate(csv.DictReader(file)):
                yield from of_json(row, str(n))
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        yield from ((k, v.tobytes()) for k, v in load_file(path).items())
    elif path.suffix in (".npy", ".npz", ".onnx", ".png", ".jpg", ".bin"):
        yield "bytes", of_binary(path)
    elif path.suffix in (".html", ".md", ".svg", ".toml", ".txt"):
        yield "numbers", of_text(path.read_text(encoding="utf-8"))


def of_json(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Leaves of nested values. Of texts only short words count: cells of a CSV, names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not VOLATILE.search(str(key)):
                yield from of_json(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from of_json(inner, f"{where}[{n}]")
    elif isinstance(value, str):
        if re.fullmatch(r"[\w.+-]{0,24}", value):
            yield where, value
    else:
        yield where, value


def of_binary(path: Path) -> bytes:
    """An array file as its values; the rest as it is."""
    if path.suffix == ".npy":
        return bytes(np.load(path).tobytes())
    if path.suffix == ".npz":
        with np.load(path) as stored:
            return b"".join(stored[name].tobytes() for name in sorted(stored.files))
    return path.read_bytes()


def of_text(text: str) -> tuple[str, ...]:
    """The decimal numbers of a page or table, sorted: whole numbers move with the words."""
    text = re.sub(r'<section id="history".*?</section>', " ", text, flags=re.DOTALL)  # speeds
    seen = re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL)
    seen = re.sub(r"[\d.,]+ (s|ms|minutes?|seconds?|MB|MiB|kB)\b|\d{4}-\d\d-\d\d\S*", " ", seen)
    return tuple(sorted(n for n in NUMBER.findall(seen) if "." in n))


if __name__ == "__main__":
    sys.exit(main())
