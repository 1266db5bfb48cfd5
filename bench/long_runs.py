"""Work off the queue of long runs, one at a time, and keep their results.

    python bench/long_runs.py go --archives A --weights W --work F [--only NAME]
    python bench/long_runs.py state

`go` goes on with whatever was interrupted: SIGTERM is passed to the command that runs, which saves
and stops. The result files of a finished run are kept in `bench/results/long/NAME.json` with the
commands, the commit, the machine and the minutes. `state` writes `bench/results/long/README.md`.
Run it from a clone at a fixed commit: an edit of the tree would break a run that imports lazily.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import FrameType
from typing import Any

from lesionlab import files

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results" / "long"


def main() -> int:
    """Parse the words and do one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verb", choices=("go", "state"))
    parser.add_argument("--queue", type=Path, default=HERE / "long_runs.toml")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--archives", type=Path)
    parser.add_argument("--weights", type=Path, help="MobileNetV2's weights file")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    queue = tomllib.loads(options.queue.read_text(encoding="utf-8"))
    if options.verb == "go":
        return go(queue, options)
    files.write_text(options.kept / "README.md", state(queue, options.kept))
    return 0


def go(queue: dict[str, Any], options: argparse.Namespace) -> int:
    """Every run that has no result yet, in the queue's order."""
    words = {
        "data": str(options.work / "data"),
        "work": str(options.work / "runs"),
        "archives": str(options.archives),
        "weights": str(options.weights),
    }
    for run in queue["runs"]:
        if (options.kept / f"{run['name']}.json").exists():
            continue
        if options.only and run["name"] not in options.only:
            continue
        code = one(run, queue["needs"], words, options)
        if code == STOPPED:
            return STOPPED
    return 0


STOPPED = 143  # the exit code of a command that SIGTERM ended


def one(
    run: dict[str, Any], needs: dict[str, Any], words: dict[str, str], options: argparse.Namespace
) -> int:
    """What it needs, its commands, its results. A failure is kept too, and the queue goes on."""
    spent = options.work / "spent" / f"{run['name']}.json"
    before = files.read_json(spent)["seconds"] if spent.exists() else 0.0
    began = time.monotonic()
    code = prepared([needs[n] | {"name": n} for n in run.get("needs", ())], words, options.work)
    for command in run["commands"] if code == 0 else ():
        code = lesionlab(command.format(**words), options.work)
        if code != 0:
            break
    spent.parent.mkdir(parents=True, exist_ok=True)
    seconds = before + time.monotonic() - began
    files.write_json(spent, {"seconds": seconds})
    if code == 0:
        keep(run, words, seconds, options.kept)
    print(f"{run['name']}: exit {code}, {seconds / 60:.0f} minutes in all", flush=True)
    return STOPPED if SIGNALS else code


def prepared(needs: list[dict[str, Any]], words: dict[str, str], work: Path) -> int:
    """Data sets that are not there yet; a mark says that all commands of one went well."""
    for need in needs:
        mark = work / "data" / f"{need['name']}.ready"
        if mark.exists():
            continue
        for command in need["commands"]:
            if code := lesionlab(command.format(**words), work):
                return code
        mark.touch()
    return 0


SIGNALS: list[int] = []


def lesionlab(command: str, work: Path) -> int:
    """Run one command; SIGTERM reaches it, and it is waited for."""
    if SIGNALS:
        return STOPPED
    (work / "data").mkdir(parents=True, exist_ok=True)
    (work / "runs").mkdir(exist_ok=True)
    print(time.strftime("%F %H:%M"), "lesionlab", command, flush=True)
    argv = [str(Path(sys.executable).with_name("lesionlab")), *shlex.split(command)]
    child = subprocess.Popen(argv)

    def pass_on(number: int, frame: FrameType | None) -> None:
        SIGNALS.append(number)
        child.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    return child.wait()


def keep(run: dict[str, Any], words: dict[str, str], seconds: float, to: Path) -> None:
    """One JSON file: how the numbers were made, and the numbers. Paths of this machine stay out."""
    results = [Path(p.format(**words)) for p in run["results"]]
    files.write_json(
        to / f"{run['name']}.json",
        {
            "schema_version": 1,
            "name": run["name"],
            "about": run["about"],
            "commands": [f"lesionlab {c}" for c in run["commands"]],
            "commit": commit(),
            "minutes": round(seconds / 60, 1),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, shared with other work",
            "results": {
                f"{p.parent.name}/{p.name}": without_paths(files.read_json(p), words)
                for p in results
            },
        },
    )


def without_paths(value: Any, words: dict[str, str]) -> Any:
    """The same value; folders of this machine are written as the queue writes them."""
    if isinstance(value, dict):
        return {k: without_paths(v, words) for k, v in value.items()}
    if isinstance(value, list):
        return [without_paths(v, words) for v in value]
    if isinstance(value, str):
        for name, path in words.items():
            value = value.replace(path, "{" + name + "}")
    return value


def commit() -> str:
    """The commit of the tree that ran."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, encoding="utf-8"
    )
    return found.stdout.strip()


def state(queue: dict[str, Any], kept: Path) -> str:
    """A page: what is done, what is not, and what it would need."""
    head = (
        "# Long runs\n\nMade by `python bench/long_runs.py state` from the queue and the results."
    )
    rows = ["| run | about | estimate, min | taken, min | state |", "|---|---|---|---|---|"]
    for run in queue["runs"]:
        path = kept / f"{run['name']}.json"
        taken = f"{files.read_json(path)['minutes']:.0f}" if path.exists() else ""
        word = f"done: [{path.name}]({path.name})" if path.exists() else "not run"
        rows.append(f"| {run['name']} | {run['about']} | {run['minutes']} | {taken} | {word} |")
    return "\n".join([head, "", *rows, ""])


if __name__ == "__main__":
    sys.exit(main())
