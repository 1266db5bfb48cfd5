"""Pin every dependency, direct or not, from what `pyproject.toml` declares.

    uv run python scripts/lock.py             pin what is new, keep the other versions
    uv run python scripts/lock.py --upgrade   take the newest version of everything
    uv run python scripts/lock.py --check     say where pins and declarations differ (no network)

Writes `[tool.uv] constraint-dependencies` and `build-constraint-dependencies` (which bind every
`uv run` and `uv sync`), and `requirements/{base,serve,train,dev}.lock` with hashes (for plain pip
and a clinic's mirror). No file names a registry: `uv.lock` would, so git ignores it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("base", "serve", "train", "dev")
EXTRAS = {
    "serve": ("serve", "sign", "dicom", "heic"),
    "train": ("train",),
}  # of a lock, beside the base
PINS, BUILD_PINS = "constraint-dependencies", "build-constraint-dependencies"
COMPILE = [
    "uv",
    "pip",
    "compile",
    "-",
    "--universal",
    "--quiet",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
]
REMEDY = "run: uv run python scripts/lock.py"


def read_project(root: Path) -> dict[str, Any]:
    """The parsed `pyproject.toml`."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def declared(project: dict[str, Any], *, extras: Iterable[str], groups: Iterable[str]) -> list[str]:
    """Direct requirements of the base, the extras and the groups; `lesionlab[x]` is opened up."""
    table = project["project"]
    rows = list(table["dependencies"])
    for extra in extras:
        rows += table["optional-dependencies"][extra]
    for group in groups:
        rows += project["dependency-groups"][group]
    own = re.compile(rf"{table['name']}\[(.+)\]$")
    inner = [match for row in rows if (match := own.match(row))]
    named = {extra.strip() for match in inner for extra in match[1].split(",")}
    if named - set(extras):
        return declared(project, extras=sorted({*extras, *named}), groups=groups)
    return sorted({row for row in rows if not own.match(row)})


def wanted(project: dict[str, Any], lock: str) -> list[str]:
    """Direct requirements of one lock, or of `all`: every extra and group at once."""
    extras = project["project"]["optional-dependencies"]
    if lock == "all":
        return declared(project, extras=sorted(extras), groups=project["dependency-groups"])
    return declared(
        project,
        extras=EXTRAS.get(lock, ()),
        groups=["dev"] if lock == "dev" else [],
    )


def fingerprint(requirements: list[str]) -> str:
    """What a lock was made from: changes when a declaration changes."""
    return hashlib.sha256(json.dumps(requirements).encode()).hexdigest()[:16]


def compile_pins(requirements: list[str], constraints: list[str], *options: str) -> list[str]:
    """Resolve for all platforms; the lines of `uv pip compile`."""
    python = read_project(ROOT)["project"]["requires-python"].removeprefix(">=")
    with tempfile.TemporaryDirectory() as empty:  # away from the project: its old pins bind there
        Path(empty, "constraints.txt").write_text("\n".join(constraints), encoding="utf-8")
        done = subprocess.run(
            [*COMPILE, "--python-version", python, "-c", "constraints.txt", *options],
            input="\n".join(requirements),
            encoding="utf-8",
            capture_output=True,
            cwd=empty,
        )
    if done.returncode:
        sys.exit(f"scripts/lock.py: no versions fit:\n{done.stderr}")
    return done.stdout.splitlines()


def name_of(requirement: str) -> str:
    """The normalised name at the start of a requirement."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def as_constraints(lines: Iterable[str]) -> list[str]:
    """Pins for `[tool.uv]`: a marker is kept only where it tells two versions apart."""
    pins = [line.strip() for line in lines if "==" in line]
    times = Counter(name_of(pin) for pin in pins)
    return [pin if times[name_of(pin)] > 1 else pin.split(" ;")[0] for pin in pins]


def pins_of(lock: str) -> list[str]:
    """`name==version` of each entry of a lock's text."""
    return re.findall(r"^([^#\s]+==[^\s;\\]+)", lock, flags=re.MULTILINE)


def set_pins(text: str, key: str, pins: list[str]) -> str:
    """The text of `pyproject.toml` with the list `key` of `[tool.uv]` replaced."""
    rows = "".join(f"    {json.dumps(pin)},\n" for pin in pins)
    changed, n = re.subn(
        rf"^{key} = \[\n.*?^\]$", lambda _: f"{key} = [\n{rows}]", text, flags=re.M | re.S
    )
    if n != 1:
        sys.exit(f"scripts/lock.py: pyproject.toml has no list '{key}' of its own lines")
    return changed


def make(upgrade: bool) -> None:
    """Resolve everything once, then each lock under those pins."""
    project = read_project(ROOT)
    uv = project["tool"]["uv"]
    old, old_build = ([], []) if upgrade else (uv[PINS], uv[BUILD_PINS])
    pins = as_constraints(compile_pins(wanted(project, "all"), old))
    build = as_constraints(compile_pins(project["build-system"]["requires"], old_build))
    locks = {lock: lock_text(project, lock, pins) for lock in LOCKS}
    for lock, text in locks.items():
        (ROOT / "requirements" / f"{lock}.lock").write_text(text, encoding="utf-8")
    toml = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    toml = set_pins(set_pins(toml, PINS, pins), BUILD_PINS, build)
    (ROOT / "pyproject.toml").write_text(toml, encoding="utf-8")
    print(f"{len(pins)} pins; " + ", ".join(f"{k}: {len(pins_of(v))}" for k, v in locks.items()))


def lock_text(project: dict[str, Any], lock: str, pins: list[str]) -> str:
    """One lock: what it was made from, then the pins with their hashes."""
    requirements = wanted(project, lock)
    lines = compile_pins(requirements, pins, "--generate-hashes")
    return "\n".join([f"# made by scripts/lock.py from {fingerprint(requirements)}", *lines, ""])


def problems(root: Path) -> list[str]:
    """Where declarations, constraints and locks differ; empty when they are in step."""
    project = read_project(root)
    pins = project["tool"]["uv"][PINS]
    found = [
        f"pyproject.toml: '{row}' is declared, but no pin fits it; {REMEDY}"
        for row in wanted(project, "all")
        if not any(fits(pin, row) for pin in pins)
    ]
    for lock in LOCKS:
        path = root / "requirements" / f"{lock}.lock"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        found += lock_problems(text, f"requirements/{lock}.lock", wanted(project, lock), pins)
    return found


def fits(pin: str, requirement: str) -> bool:
    """Whether `name==version` is what the requirement asks for."""
    asked, (version,) = Requirement(requirement), Requirement(pin).specifier
    same = name_of(pin) == name_of(requirement)
    return same and asked.specifier.contains(version.version, prereleases=True)


def lock_problems(text: str, where: str, requirements: list[str], pins: list[str]) -> list[str]:
    """What is wrong with one lock's text."""
    found = []
    if f"from {fingerprint(requirements)}\n" not in text:
        found.append(f"{where}: made from other declarations than pyproject.toml's; {REMEDY}")
    bare = {pin.split(" ;")[0] for pin in pins}
    for pin in pins_of(text):
        if pin not in bare:
            found.append(f"{where}: '{pin}' is not among the constraints; {REMEDY}")
    for entry in re.split(r"^(?=[^\s#])", text, flags=re.M):
        if "==" in entry and "--hash=sha256:" not in entry:
            found.append(f"{where}: '{entry.split()[0]}' has no hash; {REMEDY}")
    if "://" in text:
        found.append(f"{where}: names an address; {REMEDY}")
    return found


def main() -> None:
    """Make the pins, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--upgrade", action="store_true", help="newest versions of everything")
    mode.add_argument("--check", action="store_true", help="only compare; exit 1 if out of step")
    options = parser.parse_args()
    if not options.check:
        make(options.upgrade)
        return
    found = problems(ROOT)
    print("\n".join(found) or "pins and declarations are in step")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
