"""The import order of docs/architecture.md, read from the syntax trees of all modules."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "lesionlab"

# A room may import itself and what stands before it.
ROOMS = (
    *("array_types", "errors", "platforms", "numerics", "extras", "files"),
    *("progress", "config", "run_folder"),
    *("data", "models", "evaluation", "stats", "training", "explanation", "experiments"),
    *("deployment", "reporting", "api", "cli"),
)
# Where torch may be imported at the top of a file; everywhere else the base install must do.
TORCH_ROOMS = ("models", "training", "explanation", "experiments")
TORCH_MODULES = ("data.augment", "deployment.export", "deployment.from_run")
TORCH = {"torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript", "captum"}
# What makes `lesionlab --help` slow: never at the top of a file of cli/.
HEAVY = TORCH | {"pandas", "scipy", "sklearn", "onnxruntime", "matplotlib", "ray", "mlflow"}


@dataclass(frozen=True)
class Import:
    """One imported module, by its full name, and whether it is loaded with the file."""

    module: str
    line: int
    at_top: bool


def module_name(path: Path) -> str:
    """`data.sources.ham10000` for src/lesionlab/data/sources/ham10000.py; "" for the package."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def walk(node: ast.AST, at_top: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes, with whether they run when the file is imported."""
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield child, at_top
        yield from walk(child, at_top and not inside and not typing_only)


def imports_in(tree: ast.Module) -> Iterator[Import]:
    """Every import of a file; `from lesionlab import files` is `lesionlab.files`."""
    for node, at_top in walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_top)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the full name"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = full.removeprefix("lesionlab.") in MODULES
                yield Import(full if is_module else str(node.module), node.lineno, at_top)


@cache
def imports(module: str) -> tuple[Import, ...]:
    """The imports of a module of ours."""
    return tuple(imports_in(ast.parse(MODULES[module].read_text(encoding="utf-8"))))


def ours(module: str) -> Iterator[tuple[str, Import]]:
    """The modules of lesionlab that a module imports."""
    for entry in imports(module):
        if entry.module.split(".")[0] == "lesionlab":
            yield entry.module.removeprefix("lesionlab").removeprefix("."), entry


def room(module: str) -> str:
    return module.split(".")[0]


def loaded_with(module: str) -> dict[str, str]:
    """library -> the chain of our modules, for all that importing a module loads."""
    chains, libraries, waiting = {module: module}, {}, [module]
    while waiting:
        here = waiting.pop()
        for entry in (e for e in imports(here) if e.at_top):
            parts = entry.module.removeprefix("lesionlab.").split(".")
            inner = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
            new = [name for name in inner if name in MODULES and name not in chains]
            chains |= {name: f"{chains[here]} -> {name}" for name in new}
            waiting += new
            if inner[0] not in MODULES:
                libraries.setdefault(parts[0], f"{chains[here]}:{entry.line}")
    return libraries


def test_every_file_stands_in_a_known_room() -> None:
    assert {room(module) for module in MODULES} - {"", "__main__"} <= set(ROOMS)
    assert len(MODULES) > 10


@pytest.mark.parametrize("module", [m for m in MODULES if m not in ("", "__main__")])
def test_imports_run_downward(module: str) -> None:
    below = ROOMS[: ROOMS.index(room(module)) + 1]
    upward = [
        f"{MODULES[module].relative_to(SOURCE)}:{entry.line} imports {entry.module}"
        for name, entry in ours(module)
        if name and room(name) not in below
    ]
    assert not upward, upward


def test_the_package_itself_loads_nothing() -> None:
    assert set(loaded_with("")) <= {"__future__", "importlib", "os", "typing"}


def test_no_cycle_even_through_deferred_imports() -> None:
    graph = {m: {n for n, _ in ours(m) if n and n != m} for m in MODULES if m}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


def test_images_and_manifest_stand_before_the_rest_of_data() -> None:
    for module in ("data.images", "data.manifest"):
        within = {name for name, _ in ours(module) if room(name) == "data"}
        pixels = {"data.images", "data.file_kinds", "data.colour_profiles", "data.depth"}
        first = {*pixels, "data.manifest", "data.split_names", "data"}
        assert within <= first, module


@pytest.mark.parametrize(
    "module", [m for m in MODULES if room(m) not in TORCH_ROOMS and m not in TORCH_MODULES]
)
def test_the_base_install_is_enough(module: str) -> None:
    needing = [chain for library, chain in loaded_with(module).items() if library in TORCH]
    assert not needing, f"torch is loaded at the top of a file: {needing[0]}"


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "cli"])
def test_the_command_line_loads_nothing_heavy(module: str) -> None:
    heavy = {library: chain for library, chain in loaded_with(module).items() if library in HEAVY}
    assert not heavy, f"import it inside the function: {heavy}"


def test_files_are_of_a_size_to_read() -> None:
    lines = {m: len(p.read_text(encoding="utf-8").splitlines()) for m, p in MODULES.items()}
    for module, n in lines.items():
        if n > 450:
            warnings.warn(f"{module}: {n} lines; split it where a reader would", stacklevel=1)
    assert max(lines.values()) <= 600


def test_the_reader_of_imports_sees_what_it_must() -> None:
    tree = ast.parse(
        "import torch.nn\nfrom lesionlab import files, __version__\n"
        "if TYPE_CHECKING:\n    import pandas\ndef f():\n    from lesionlab.data import manifest\n"
    )
    assert [(e.module, e.at_top) for e in imports_in(tree)] == [
        ("torch.nn", True),
        ("lesionlab.files", True),
        ("lesionlab", True),
        ("pandas", False),
        ("lesionlab.data.manifest", False),
    ]


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "api"])
def test_a_verb_asks_for_the_extra_before_it_loads_torch(module: str) -> None:
    """Else a base install gets a traceback instead of the line that names the extra."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        asked = [n.lineno for n in ast.walk(function) if _is_need_torch(n)]
        for name, entry in ours_in(function):
            heavy = TORCH & set(loaded_with(name)) if asked and entry.line < min(asked) else ()
            assert not heavy, f"{module}.{function.name}: line {entry.line} loads {heavy}"


def _is_need_torch(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "extras.need_torch"


def ours_in(function: ast.FunctionDef) -> Iterator[tuple[str, Import]]:
    """The modules of lesionlab that are imported inside a function."""
    body = ast.Module(body=function.body, type_ignores=[])
    for entry in imports_in(body):
        name = entry.module.removeprefix("lesionlab").removeprefix(".")
        if name in MODULES and name:
            yield name, entry
