"""The page's scripts under node, side by side as the static page has them."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lesionlab.deployment.web import static_files


@cache
def _site() -> TemporaryDirectory[str]:
    room = TemporaryDirectory()
    for name, content in static_files().items():
        path = Path(room.name) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return room


def node(code: str, given: Any = None) -> Any:
    """Run a module that prints JSON; `given` is what `given` holds in it."""
    if shutil.which("node") is None:
        pytest.skip("node is not here")
    browser = (Path(_site().name) / "page").as_uri()
    head = f"const given = {json.dumps(given)};\nconst browser = {json.dumps(browser)};\n"
    command = ["node", "--input-type=module", "-"]
    done = subprocess.run(
        command, input=head + code, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PREPARE = """
const { prepare, normalise } = await import(`${browser}/prepare.js`);
const image = { ...given.image, rgba: Uint8Array.from(given.image.rgba) };
const pixels = prepare(image, given.orientation, given.how);
const floats = [...normalise(pixels, given.how)];
console.log(JSON.stringify({ pixels: [...pixels], floats }));
"""

ANSWER = """
import { readFileSync } from "node:fs";
const { answer } = await import(`${browser}/answers.js`);
const { readNpy, unitRows } = await import(`${browser}/npy.js`);
const arrays = {};
for (const name of ["bank", "bank_labels", "ood_mean", "ood_basis"]) {
  const file = readFileSync(`${given.folder}/${name}.npy`);
  arrays[name] = readNpy(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
}
arrays.bank = unitRows(arrays.bank);
const info = given.info, point = info.operating_points[0];
console.log(JSON.stringify(given.rows.map(({ logits, embedding }) =>
  answer(info, arrays, logits, embedding, point, given.abstain))));
"""
