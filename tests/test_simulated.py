"""The whole path without what Windows does not have: simulated on Linux, real elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.elsewhere import LINUX, elsewhere, said


def system() -> dict[str, str]:
    """The environment: of a simulated Windows on Linux, of the system itself elsewhere."""
    return elsewhere() if sys.platform == "linux" else dict(os.environ)


def lesionlab(verbs: list[str], cwd: Path) -> list[dict[str, Any]]:
    """Verbs one after the other in one process (each start loads torch), and what they answer."""
    code = (
        "import sys; from lesionlab.cli.main import run\n"
        "for verb in sys.argv[1:]:\n    assert run([*verb.split(), '--json']) == 0, verb"
    )
    command = [sys.executable, "-c", code, *verbs]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=cwd, env=system())
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def one_request(bundle: Path, image: Path, cwd: Path) -> dict[str, Any]:
    """The answer of a server, which is ended as Ctrl-C ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "lesionlab", "serve", str(bundle), "--json", "--port", port]
    command += ["--audit", "audit.jsonl"]
    pipes: Any = {"stdout": subprocess.PIPE, "encoding": "utf-8"}
    process = subprocess.Popen(command, cwd=cwd, env=system(), **pipes)
    try:
        url = json.loads(said(process))["url"]
        transport = httpx.HTTPTransport(retries=8)  # the socket opens a little later
        with httpx.Client(base_url=url, transport=transport, timeout=60) as web:
            sent = {"content": image.read_bytes(), "headers": {"content-type": "image/png"}}
            answer: dict[str, Any] = web.post("v1/predict", **sent).raise_for_status().json()
    finally:
        if os.name == "nt":
            process.terminate()
        else:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    return answer


@pytest.mark.slow
def test_the_whole_path(tmp_path: Path) -> None:
    making = [
        "import synthetic --to data --lesions 40",
        "split data --test 0.2 --valid 0.2",
        "train data --preset demo --epochs 1 --threads 1 --out run",
        "evaluate run --split test",
        "export run --to bundle",
    ]
    assert len(lesionlab(making, tmp_path)) == 5
    assert len(list((tmp_path / "data" / "cache").glob("pixels-*.npy"))) == 1
    ledger = (tmp_path / "data" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in ledger] == ["split", "opened"]
    images = sorted((tmp_path / "data" / "images").iterdir())[:3]
    (tmp_path / "asked").mkdir()
    for image in images:
        shutil.copy(image, tmp_path / "asked")
    using = [
        "predict bundle asked --csv out.csv --heatmaps maps",
        f"predict bundle asked/{images[0].name}",
        "verify bundle",
    ]
    table, alone, verified = lesionlab(using, tmp_path)
    assert table["n"] == len(list((tmp_path / "maps").iterdir())) == 3
    assert "asked/" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert verified["self_test"] <= 1e-4
    served = one_request(tmp_path / "bundle", images[0], tmp_path)["predictions"][0]
    expected = pytest.approx(alone["predictions"][0]["probabilities"], abs=1e-6)
    assert served["probabilities"] == expected


STORE = """
from pathlib import Path
from lesionlab.data import feature_store as store
from lesionlab.progress import SILENT
root = Path("root"); folder = root / "s"
for n in range(2):
    with store.locked_store(folder, SILENT), store.new_segment(folder, "key", [str(n)], 3) as rows:
        rows[:] = n
found = store.find_rows(folder, "key", ["1", "0"], SILENT)
print(len(found.segments), len(found.absent), found.segment.tolist())
del found
with store.locked_store(folder, SILENT):
    store.drop([folder / "00000.npy"])
print(len(store.find_rows(folder, "key", ["1", "0"], SILENT).absent))
print(store.make_room(root, [], 1, 0), [p.name for p in root.rglob("*") if p.is_file()])
"""


def test_features_are_stored_dropped_and_cleared(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STORE]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", cwd=tmp_path, env=system()
    )
    assert done.returncode == 0, done.stderr
    left = "['.lock']" if sys.platform in ("linux", "win32") else "[]"  # it was open: it stays
    assert done.stdout.splitlines() == ["2 0 [1, 0]", "1", f"['s'] {left}"]


@LINUX
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import fcntl", "ModuleNotFoundError"),
        ("import os; os.sched_getaffinity(0)", "AttributeError"),
        ("import os; os.fork()", "AttributeError"),
        ("import os; os.open('.', os.O_RDONLY)", "PermissionError"),
        ("import ctypes; ctypes.CDLL(None)", "TypeError"),
        ("from pathlib import Path; Path('a').write_text('x')", "AssertionError"),
        (
            "f = open('a', 'wb'); from pathlib import Path; Path('a').replace('b')",
            "PermissionError",
        ),
        ("f = open('a', 'wb'); import os; os.unlink('a')", "PermissionError"),
        ("open('con.png', 'wb')", "OSError"),
        ("import os; os.symlink('a', 'b')", "PermissionError"),
        (
            "import numpy as np; a = np.lib.format.open_memmap('a', 'w+', 'u1', (9,)); "
            "import os; os.replace('a', 'b')",
            "PermissionError",
        ),
    ],
)
def test_the_simulation_refuses(code: str, error: str, tmp_path: Path) -> None:
    whole = f"exec({code!r}, {{'__name__': 'lesionlab.simulated'}})"
    command = [sys.executable, "-c", whole]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", cwd=tmp_path, env=elsewhere()
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(error), done.stderr
    plain = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr


@pytest.mark.slow
@LINUX
def test_the_base_install_is_imported_without_torch(tmp_path: Path) -> None:
    code = """
import sys
from importlib.machinery import PathFinder
found = PathFinder.find_spec
HIDDEN = {"torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript", "captum"}
PathFinder.find_spec = lambda name, *r: None if name.split(".")[0] in HIDDEN else found(name, *r)
import lesionlab.run_folder, lesionlab.deployment.predictor, lesionlab.api.predict
import lesionlab.api.split
import lesionlab.api.evaluate, lesionlab.api.verify, lesionlab.data.feature_store
from lesionlab import platforms
assert platforms.WINDOWS and platforms.usable_cpus() >= 1 and not platforms.keep_memory()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=elsewhere()
    )
    assert done.returncode == 0, done.stderr
