"""`lesionlab predict` on a folder of many images: killed once, resumed, its memory watched.

    python bench/predict_folder.py BUNDLE FOLDER --csv OUT.csv [--kill-after 3000] [--threads 1]

The first call is killed with SIGKILL after `--kill-after` rows; the second one goes on. Resident
memory is sampled twice a second. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def resident(pid: int) -> float:
    """Megabytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next((row for row in status.splitlines() if row.startswith("VmRSS")), "VmRSS: 0 kB")
    return int(line.split()[1]) / 1024


def rows(path: Path) -> int:
    return path.read_bytes().count(b"\n") - 1 if path.is_file() else 0


def watch(command: list[str], partial: Path, kill_after: int | None) -> dict[str, Any]:
    """Run to the end, or until so many rows are there; memory by time."""
    began, memory = time.monotonic(), []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        memory.append(resident(process.pid))
        if kill_after is not None and rows(partial) >= kill_after:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.5)
    assert process.stdout is not None
    said = process.stdout.read().decode()
    process.wait()
    half = max(1, len(memory) // 2)
    return {
        "exit": process.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "rows_then": rows(partial) if process.returncode else None,
        "memory_mb_max_first_half": round(max(memory[:half]), 1),
        "memory_mb_max_second_half": round(max(memory[half:], default=0.0), 1),
        "said": json.loads(said) if said and not process.returncode else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--kill-after", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    command = [sys.executable, "-m", "lesionlab", "predict", str(given.bundle), str(given.folder)]
    command += ["--csv", str(given.csv), "--threads", str(given.threads), "--json"]
    partial = given.csv.with_name(given.csv.name + ".partial")
    first = watch(command, partial, given.kill_after)
    second = watch(command, partial, None)
    said = second.pop("said")
    with given.csv.open(newline="", encoding="utf-8") as stream:
        ids = [row["image_id"] for row in csv.DictReader(stream)]
    result = {
        "images": said["n"],
        "errors": said["errors"],
        "resumed": said["resumed"],
        "rows": len(ids),
        "rows_repeated": len(ids) - len(set(ids)),
        "killed": first,
        "resumed_call": second,
        "left_behind": [p.name for p in given.csv.parent.glob(given.csv.name + ".*")],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
