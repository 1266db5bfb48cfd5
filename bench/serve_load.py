"""The server under load, against an in-process loop on the same cores.

    python bench/serve_load.py BUNDLE IMAGE... [--seconds 10] [--rounds 3] [--overload 60]

1. Requests a second and latencies over HTTP, next to a loop of decode, resize and ONNX Runtime
   without HTTP, in turns (other work on the machine then hits both alike).
2. Four times more clients than places for `--overload` seconds: statuses, memory.
3. The bundle is replaced five times under load: no request may fail.
4. kill -9, restart: seconds until it is ready again.

The load generator runs on the same cores. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.deployment.answers import answers, find_point
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.decode import read_view
from lesionlab.deployment.predictor import Predictor

CORES = len(os.sched_getaffinity(0))


@dataclass
class Seen:
    """What a load generator has seen."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    broken: int = 0

    def summary(self) -> dict[str, Any]:
        ok = np.array(self.latencies) * 1000
        quantiles = np.quantile(ok, [0.5, 0.95, 0.99]) if len(ok) else [float("nan")] * 3
        return {
            "answered_per_second": round(len(ok) / self.seconds, 2),
            "statuses": dict(self.statuses),
            "broken_connections": self.broken,
            "p50_ms": round(float(quantiles[0]), 1),
            "p95_ms": round(float(quantiles[1]), 1),
            "p99_ms": round(float(quantiles[2]), 1),
        }


def in_process(predictor: Predictor, images: list[bytes], seconds: float) -> float:
    """Images a second of decode, resize, network and answer, one thread a core, no HTTP."""
    end, point = time.monotonic() + seconds, find_point(predictor.info, None)

    def work(k: int) -> int:
        n = 0
        while time.monotonic() < end:
            view = read_view(images[(k + n) % len(images)], predictor.how)
            answers(predictor, predictor.predict(view.pixels[None]), point)
            n += 1
        return n

    started = time.monotonic()
    with ThreadPoolExecutor(CORES) as pool:
        done = sum(pool.map(work, range(CORES)))
    return done / (time.monotonic() - started)


class Server:
    """`lesionlab serve` in a process of its own."""

    def __init__(self, bundle: Path, queue: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.command = [sys.executable, "-m", "lesionlab", "serve", str(bundle)]
        self.command += ["--port", str(self.port), "--queue", str(queue)]
        self.start()

    def start(self) -> float:
        """Start, and the seconds until it is ready."""
        began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{self.port}/health/ready"
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                return time.monotonic() - began
            time.sleep(0.1)

    def memory(self) -> float:
        """Resident megabytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        line = next(row for row in status.splitlines() if row.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


def request(image: bytes, port: int) -> bytes:
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(image)}\r\n\r\n"
    )
    return head.encode() + image


async def client(port: int, requests: list[bytes], first: int, end: float, seen: Seen) -> None:
    """Send one request after the other on one connection, which is opened again where it broke."""
    n, reader, writer = first, None, None
    while time.monotonic() < end:
        started = time.monotonic()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert reader is not None
            writer.write(requests[n % len(requests)])
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            seen.broken += 1
            writer = None
            await asyncio.sleep(0.05)
            continue
        status = int(head.split(" ")[1])
        seen.statuses[status] += 1
        if status == 200:
            seen.latencies.append(time.monotonic() - started)
        else:
            await asyncio.sleep(0.02)  # far sooner than Retry-After asks for
        if "connection: close" in head:
            writer.close()
            writer = None
        n += 1


def load(port: int, images: list[bytes], clients: int, seconds: float) -> Seen:
    """What `clients` side by side see in that time."""
    requests, seen = [request(i, port) for i in images], Seen()

    async def all_clients() -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(*(client(port, requests, k, end, seen) for k in range(clients)))

    started = time.monotonic()
    asyncio.run(all_clients())
    seen.seconds = time.monotonic() - started
    return seen


@contextlib.contextmanager
def sampled(server: Server, into: list[float]) -> Iterator[None]:
    """Resident megabytes, twice a second, while the block runs."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.5):
            into.append(server.memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def throughput(server: Server, bundle: Path, images: list[bytes], given: Any) -> dict[str, Any]:
    predictor = Predictor(read_bundle(bundle), threads=1)
    in_process(predictor, images, 2)
    load(server.port, images, CORES, 2)
    rounds = []
    for _ in range(given.rounds):
        alone = in_process(predictor, images, given.seconds)
        http = load(server.port, images, CORES + 1, given.seconds).summary()
        share = round(http["answered_per_second"] / alone, 3)
        rounds.append({"in_process_per_second": round(alone, 2), **http, "share": share})
    shares = [r["share"] for r in rounds]
    return {"rounds": rounds, "median_share": float(np.median(shares)), "cores": CORES}


def overload(server: Server, images: list[bytes], places: int, seconds: float) -> dict[str, Any]:
    memory: list[float] = []
    with sampled(server, memory):
        seen = load(server.port, images, 4 * places, seconds)
    half = len(memory) // 2
    return {
        "clients": 4 * places,
        "places": places,
        **seen.summary(),
        "seconds": round(seen.seconds, 1),
        "memory_mb_after_a_tenth": round(memory[len(memory) // 10], 1),
        "memory_mb_first_half_max": round(max(memory[:half]), 1),
        "memory_mb_second_half_max": round(max(memory[half:]), 1),
        "alive": server.process.poll() is None,
    }


def swap(server: Server, folder: Path, images: list[bytes]) -> dict[str, Any]:
    """Replace the folder five times by a copy whose bundle.json has another time stamp."""
    fresh = folder.with_name("fresh")
    before = metric(server, "lesionlab_swaps_total")

    def replace() -> None:
        for _ in range(5):
            time.sleep(3)
            shutil.copytree(folder, fresh)
            os.utime(fresh / "bundle.json")
            folder.rename(folder.with_name("old"))
            fresh.rename(folder)
            shutil.rmtree(folder.with_name("old"))

    thread = threading.Thread(target=replace)
    thread.start()
    seen = load(server.port, images, CORES, 20)
    thread.join()
    time.sleep(3)
    return {**seen.summary(), "swaps": metric(server, "lesionlab_swaps_total") - before}


def metric(server: Server, name: str) -> float:
    url = f"http://127.0.0.1:{server.port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(row.rsplit(" ", 1)[1]) for row in lines if row.startswith(name + "{"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--overload", type=float, default=60)
    parser.add_argument("--queue", type=int, default=16)
    parser.add_argument("--parts", default="throughput,overload,swap,restart")
    given = parser.parse_args()
    images = [p.read_bytes() for p in given.images]
    with tempfile.TemporaryDirectory() as room:
        folder = Path(shutil.copytree(given.bundle, Path(room) / "bundle"))
        server = Server(folder, given.queue)
        result: dict[str, Any] = {}
        try:
            parts = given.parts.split(",")
            if "throughput" in parts:
                result["throughput"] = throughput(server, folder, images, given)
            if "overload" in parts:
                places = CORES + given.queue
                result["overload"] = overload(server, images, places, given.overload)
            if "swap" in parts:
                result["swap"] = swap(server, folder, images)
            if "restart" in parts:
                server.stop(signal.SIGKILL)
                result["restart_after_kill_seconds"] = round(server.start(), 2)
                result["after_restart"] = load(server.port, images, 1, 3).summary()
            result["exit_code_on_sigterm"] = server.stop()
        finally:
            if server.process.poll() is None:
                server.stop(signal.SIGKILL)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
