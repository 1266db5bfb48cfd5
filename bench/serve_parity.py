"""The same images through Python, REST and the static page in a headless Chromium.

    python bench/serve_parity.py BUNDLE PAGE IMAGES.zip [--json OUT]

BUNDLE and PAGE come from `lesionlab export RUN --to BUNDLE --web PAGE`. The page is opened once,
then the browser goes offline and the page is loaded again: every answer is given without a
network. First the pixels that the network is shown are compared, then probabilities, decisions,
prediction sets and distances. Prints one JSON object; exit code 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import base64
import functools
import json
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from lesionlab.deployment.answers import answers, find_point
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.decode import read_view
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.server_run import ServeSettings, build

TOLERANCE = 1e-3
ASK = """async (b) => {
  const { models, pixelsOf, predict } = await import("./page/engine.js");
  const bytes = Uint8Array.from(atob(b), (c) => c.charCodeAt(0));
  const file = new File([bytes], "a.jpg");
  let text = "";
  for (const v of await pixelsOf(file)) text += String.fromCharCode(v);
  const started = performance.now();
  const said = await predict(file);
  return { pixels: btoa(text), said, ms: performance.now() - started };
}"""


class Quiet(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def static_host(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def by_python(predictor: Predictor, images: list[bytes]) -> list[dict[str, Any]]:
    point, said = find_point(predictor.info, None), []
    for data in images:
        view = read_view(data, predictor.how)
        answer = answers(predictor, predictor.predict(view.pixels[None]), point)[0]
        said.append({"pixels": view.pixels, **answer.model_dump()})
    return said


def by_rest(bundle: Path, images: list[bytes]) -> list[dict[str, Any]]:
    app, _ = build([bundle], ServeSettings(workers=1, allow_hosts=("testserver",)))
    headers = {"content-type": "image/jpeg"}
    with TestClient(app) as web:
        answers_ = [web.post("/v1/predict", content=i, headers=headers) for i in images]
    return [a.raise_for_status().json()["predictions"][0] for a in answers_]


def by_browser(page_folder: Path, images: list[bytes], side: int) -> dict[str, Any]:
    """Answers of the offline page, the requests it made of others, and its errors."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    foreign, errors, said = [], [], []
    with static_host(page_folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        context = browser.new_context()
        page = context.new_page()
        page.on("request", lambda r: None if r.url.startswith(url) else foreign.append(r.url))
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(url)
        page.wait_for_selector("body[data-ready]", timeout=120_000)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        context.set_offline(True)
        page.reload()
        page.wait_for_selector("body[data-ready]", timeout=120_000)
        for data in images:
            one = page.evaluate(ASK, base64.b64encode(data).decode())
            flat = np.frombuffer(base64.b64decode(one["pixels"]), np.uint8)
            pixels = flat.reshape(side, side, -1)
            said.append({"pixels": pixels, "ms": one["ms"], **one["said"]})
        version = browser.version
        browser.close()
    return {"said": said, "foreign": foreign, "errors": errors, "version": version}


def compared(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Largest differences, and on how many images everything that is said is the same."""
    prob = [
        max(abs(a["probabilities"][c] - b["probabilities"][c]) for c in a["probabilities"])
        for a, b in zip(ours, theirs, strict=True)
    ]
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "max_probability_difference": float(f"{max(prob):.3g}"),
        "same_decision": sum(
            a["decision"]["positive"] == b["decision"]["positive"] for a, b in pairs
        ),
        "same_sets": sum(a["conformal"] == b["conformal"] for a, b in pairs),
        "same_flag": sum(a["ood"]["flagged"] == b["ood"]["flagged"] for a, b in pairs),
        "same_neighbours": sum(a["similar"] == b["similar"] for a, b in pairs),
        "max_distance_difference": float(
            f"{max(abs(a['ood']['score'] - b['ood']['score']) for a, b in pairs):.3g}"
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with zipfile.ZipFile(given.images) as archive:
        names = [n for n in sorted(archive.namelist()) if n.endswith((".jpg", ".jpeg"))]
        images = [archive.read(n) for n in names]
    predictor = Predictor(read_bundle(given.bundle), threads=1)
    python, rest = by_python(predictor, images), by_rest(given.bundle, images)
    browser = by_browser(given.page, images, predictor.how.size)
    equal = [
        np.array_equal(a["pixels"], b["pixels"])
        for a, b in zip(python, browser["said"], strict=True)
    ]
    result = {
        "images": len(images),
        "identity": predictor.bundle.identity,
        "browser": f"Chromium {browser['version']}, headless, offline",
        "equal_pixels": sum(equal),
        "python_rest": compared(python, rest),
        "python_browser": compared(python, browser["said"]),
        "rest_browser": compared(rest, browser["said"]),
        "positive": sum(bool(p["decision"]["positive"]) for p in python),
        "no_decision": sum(p["decision"]["positive"] is None for p in python),
        "browser_ms_median": round(float(np.median([b["ms"] for b in browser["said"]])), 1),
        "foreign_requests": len(browser["foreign"]),
        "page_errors": browser["errors"],
    }
    text = json.dumps(result, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    pairs = [result[k] for k in ("python_rest", "python_browser", "rest_browser")]
    kept = all(p["max_probability_difference"] <= TOLERANCE for p in pairs)
    kept &= all(p["same_decision"] == len(images) for p in pairs)
    sys.exit(0 if kept and all(equal) and not browser["foreign"] else 1)


if __name__ == "__main__":
    main()
