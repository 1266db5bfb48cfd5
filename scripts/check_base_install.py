"""Build wheel and sdist, install the wheel from `requirements/base.lock` alone, and use it.

    uv run python scripts/check_base_install.py DEMO

DEMO is what `lesionlab demo --out DEMO` wrote. The wheel that the sdist gives holds the same files
as the one of the checkout. In an environment without the extra `train` every verb shows its help,
`predict` answers for DEMO's bundle as it does here, `verify` finds that bundle whole and a spoilt
one not, `evaluate` measures DEMO's predictions, and `demo` names the extra in one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def call(*words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([str(w) for w in words], capture_output=True, encoding="utf-8", cwd=cwd)


def must(*words: str | Path, cwd: Path = ROOT) -> str:
    """The standard output of a command that has to succeed."""
    done = call(*words, cwd=cwd)
    if done.returncode:
        sys.exit(f"failed ({done.returncode}): {' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def claim(holds: bool, what: str) -> None:
    """Say what was seen, or stop."""
    if not holds:
        sys.exit(f"scripts/check_base_install.py: not so: {what}")
    print(f"  {what}")


def build(folder: Path) -> Path:
    """The wheel of the checkout, which has the files of the one that the sdist gives."""
    must("uv", "build", "--quiet", "--wheel", "--out-dir", folder / "wheel")
    must("uv", "build", "--quiet", "--sdist", "--out-dir", folder / "sdist")
    (wheel,), (sdist,) = (folder / "wheel").glob("*.whl"), (folder / "sdist").glob("*.tar.gz")
    must("uv", "build", "--quiet", "--wheel", "--out-dir", folder / "again", sdist)
    (again,) = (folder / "again").glob("*.whl")
    ours, theirs = contents(wheel), contents(again)
    apart = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
    claim(len(ours) > 100, f"the wheel holds {len(ours)} files")
    claim(not apart, f"the sdist gives the same wheel {', '.join(apart)}".rstrip())
    return wheel


def contents(wheel: Path) -> dict[str, str]:
    """The SHA-256 of each file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {n: hashlib.sha256(archive.read(n)).hexdigest() for n in archive.namelist()}


def install(folder: Path) -> Path:
    """A fresh environment with the base lock and the wheel; returns the folder of its programs."""
    wheel = build(folder)
    must("uv", "venv", "--quiet", "--python", sys.executable, folder / "env")
    pip = ("uv", "pip", "install", "--quiet", "--python", folder / "env")
    must(*pip, "--require-hashes", "-r", ROOT / "requirements" / "base.lock")
    must(*pip, "--no-deps", wheel)
    return folder / "env" / ("Scripts" if os.name == "nt" else "bin")


def check_help(lesionlab: Path) -> None:
    """Every verb of the table shows its help."""
    code = "from lesionlab.cli.main import VERBS; print(*VERBS)"
    verbs = must(lesionlab.parent / "python", "-c", code).split()
    for verb in verbs:
        must(lesionlab, verb, "--help")
    claim(len(verbs) > 5, f"{len(verbs)} verbs show their help")


def probabilities(answer: str) -> list[dict[str, float]]:
    """What `predict --json` says of each image."""
    rows: list[dict[str, Any]] = json.loads(answer)["predictions"]
    return [row["probabilities"] for row in rows]


def check_predict(lesionlab: Path, demo: Path, image: Path) -> None:
    """The bundle answers as it does where torch is."""
    words = ("predict", demo / "bundle", image, "--json")
    here = probabilities(must(Path(sys.executable).parent / "lesionlab", *words))
    there = probabilities(must(lesionlab, *words))
    apart = max(abs(a[k] - b[k]) for a, b in zip(here, there, strict=True) for k in a)
    claim(len(there) == 1 and apart <= 1e-6, f"predict answers, within {apart:.1g}")


def check_evaluate(lesionlab: Path, demo: Path, folder: Path) -> None:
    """A predictions table is measured."""
    table = demo / "run" / "predictions-valid.csv"
    answer = json.loads(must(lesionlab, "evaluate", table, "--out", folder / "report", "--json"))
    claim(answer["n"] > 0, f"evaluate measures {answer['n']} predictions")


ARRAYS = """
import lesionlab, pathlib, sys
found = lesionlab.evaluate(y_true=[0, 1] * 40, y_prob=[0.2, 0.7] * 40, resamples=50)
typed = (pathlib.Path(lesionlab.__file__).parent / "py.typed").is_file()
print(found.n, typed, "torch" in sys.modules, found.report(sys.argv[1]).stat().st_size > 10_000)
"""


def check_arrays(lesionlab: Path, folder: Path) -> None:
    """Arrays are measured, and the wheel says that it is typed."""
    python, page = lesionlab.parent / "python", folder / "arrays.html"
    said = must(python, "-c", ARRAYS, page, cwd=folder).split()
    claim(said == ["80", "True", "False", "True"], "arrays are measured; the wheel is typed")


def check_verify(lesionlab: Path, demo: Path, folder: Path) -> None:
    """A whole bundle is told from a spoilt one."""
    answer = json.loads(must(lesionlab, "verify", demo / "bundle", "--json"))
    claim(answer["files"] > 0, f"verify finds {answer['files']} files whole")
    spoilt = Path(shutil.copytree(demo / "bundle", folder / "spoilt"))
    with (spoilt / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    done = call(lesionlab, "verify", spoilt)
    claim(done.returncode == 2, f"verify refuses: {done.stderr.strip().removeprefix(str(spoilt))}")


def check_demo(lesionlab: Path, folder: Path) -> None:
    """The demo needs torch, says so in one line, and leaves nothing behind."""
    done = call(lesionlab, "demo", "--out", folder / "demo")
    one_line = done.stderr.count("\n") == 1 and "the extra 'train'" in done.stderr
    claim(done.returncode == 2 and one_line, f"demo: {done.stderr.strip()}")
    claim(not (folder / "demo").exists() and not done.stdout, "demo leaves nothing behind")


def main() -> None:
    """Run all checks; exit 1 at the first that fails."""
    demo = Path(sys.argv[1]).resolve()
    image = next(path for path in sorted((demo / "data" / "images").rglob("*")) if path.is_file())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lesionlab = install(folder) / "lesionlab"
        claim(call(lesionlab.parent / "python", "-c", "import torch").returncode != 0, "no torch")
        check_help(lesionlab)
        check_predict(lesionlab, demo, image)
        check_evaluate(lesionlab, demo, folder)
        check_arrays(lesionlab, folder)
        check_verify(lesionlab, demo, folder)
        check_demo(lesionlab, folder)


if __name__ == "__main__":
    main()
