"""Every extra: the refusal where it is absent, and a remedy that works as it is typed."""

from __future__ import annotations

import io
import json
import sys
import tomllib
import zipfile
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import lesionlab
from lesionlab import extras
from lesionlab.errors import BadInput

ROOT = Path(__file__).resolve().parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def _tracking(name: str) -> None:
    from lesionlab.config import Settings, parse
    from lesionlab.training.tracking import refuse_absent_trackers

    stage = {"name": "head", "trainable": "head", "epochs": 1}
    raw = {"name": "t", "model": {"name": "test_resnet"}, "stages": [stage], "tracking": [name]}
    refuse_absent_trackers(parse(Settings, raw))


def _dicom() -> None:
    from lesionlab.data.dicom import read_dicom

    read_dicom(b"", "a.dcm")


def _heic() -> None:
    from lesionlab.data.images import open_image

    open_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def _hdf5() -> None:
    from lesionlab.data.sources.isic_later import open_hdf5

    open_hdf5(None, "a.hdf5")  # type: ignore[arg-type]


def _excel() -> None:
    from lesionlab.data.workbook import read_rows

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    read_rows(stream.getvalue(), "a.xlsx")


def _sign() -> None:
    from lesionlab.deployment.signing import sign

    sign("identity", Path("key.pem"))


def _figures() -> None:
    from lesionlab.api.figures import _converters

    _converters(["png"])


def _tune() -> None:
    from lesionlab.experiments.tune import need_optuna

    need_optuna()


def _ray() -> None:
    from lesionlab.experiments.engine import need_ray

    need_ray()


# What a user calls that needs the extra. `weights` is optional to its one caller, which goes on.
CALLS: dict[str, Callable[[], Any]] = {
    "train": lambda: lesionlab.train("data", "fast", "run"),
    "dicom": _dicom,
    "hdf5": _hdf5,
    "heic": _heic,
    "excel": _excel,
    "serve": lambda: lesionlab.serve("bundle"),
    "sign": _sign,
    "figures": _figures,
    "tune": _tune,
    "ray": _ray,
    "mlflow": lambda: _tracking("mlflow"),
    "tensorboard": lambda: _tracking("tensorboard"),
}


def test_the_table_has_every_extra_of_the_project() -> None:
    assert set(extras.MODULES) == set(DECLARED)
    assert set(CALLS) == set(DECLARED) - {"weights"}


@pytest.mark.parametrize("extra", extras.MODULES)
def test_modules_are_those_of_the_declared_packages(extra: str) -> None:
    """By the installed packages' own lists; what is not installed here cannot be asked."""
    names = {line.split(">")[0].split("=")[0].lower() for line in DECLARED[extra]}
    brought = metadata.packages_distributions()
    for module in extras.MODULES[extra]:
        if find_spec(module) is not None:
            assert names & {d.lower().replace("_", "-") for d in brought[module]}, module


@pytest.mark.parametrize("extra", CALLS)
def test_a_missing_extra_is_named_in_one_line(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in extras.MODULES[extra]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput) as refused:
        CALLS[extra]()
    told = str(refused.value)
    first = extras.MODULES[extra][0]
    assert f"needs the extra '{extra}' ({first} is not installed)" in told
    assert f"install it: {extras.install_command(extra)}" in told
    assert "\n" not in told


def test_what_is_there_is_not_asked_for() -> None:
    extras.need("sign", "signing")
    with pytest.raises(BadInput, match=r"a map needs no-such-thing; install it: .*no-such-thing$"):
        extras.need_package("no_such_thing", "no-such-thing", "a map")


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Pretend that the package was installed so, into a Python that has pip."""

    class Installed:
        def __init__(self, raw: Any) -> None:
            self.raw = raw

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if self.raw is None else json.dumps(self.raw)

    def pretend(raw: Any) -> None:
        monkeypatch.setattr(extras.metadata, "distribution", lambda name: Installed(raw))
        monkeypatch.setattr(extras, "installer", lambda: "pip install")

    monkeypatch.setattr(extras, "__file__", "/usr/lib/python3/site-packages/lesionlab/extras.py")
    return pretend


def test_from_an_index_it_is_the_package_of_that_name(origin: Callable[[Any], None]) -> None:
    origin(None)
    assert extras.install_command("train") == 'pip install "lesionlab[train]"'


def test_from_a_repository_it_is_the_same_commit(origin: Callable[[Any], None]) -> None:
    vcs = {"vcs": "git", "commit_id": "abc"}
    origin({"url": "https://example.org/lesionlab.git", "vcs_info": vcs})
    wanted = 'pip install "lesionlab[serve] @ git+https://example.org/lesionlab.git@abc"'
    assert extras.install_command("serve") == wanted


def test_from_a_wheel_it_is_that_file_while_it_is_there(
    origin: Callable[[Any], None], tmp_path: Path
) -> None:
    wheel = tmp_path / "lesionlab-0.1.0-py3-none-any.whl"
    wheel.touch()
    origin({"url": wheel.as_uri(), "archive_info": {}})
    assert extras.install_command("sign") == f'pip install "lesionlab[sign] @ {wheel.as_uri()}"'
    wheel.unlink()
    assert extras.install_command("sign") == 'pip install "lesionlab[sign]"'


@pytest.mark.parametrize("editable", [True, False])
def test_from_a_clone_it_is_the_clone(
    origin: Callable[[Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool
) -> None:
    origin({"url": tmp_path.as_uri(), "dir_info": {"editable": editable}})
    flag = "-e " if editable else ""
    assert extras.install_command("tune") == f'pip install {flag}"{tmp_path}[tune]"'
    monkeypatch.chdir(tmp_path)
    assert extras.install_command("tune") == f'pip install {flag}".[tune]"'


def test_from_a_clone_that_uv_keeps_it_is_uv(
    origin: Callable[[Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    (tmp_path / "uv.lock").touch()
    monkeypatch.setattr(extras.sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setattr(extras.shutil, "which", lambda name: f"/usr/bin/{name}")
    wanted = f"uv sync --inexact --extra ray --project {tmp_path}"
    assert extras.install_command("ray") == wanted
    monkeypatch.chdir(tmp_path)
    assert extras.install_command("ray") == "uv sync --inexact --extra ray"


def test_the_installer_reaches_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert extras.installer() in ("uv pip install", f"uv pip install --python {sys.executable}")
    monkeypatch.setattr(extras, "find_spec", lambda name: name)
    monkeypatch.setattr(extras.shutil, "which", lambda name: None)
    assert extras.installer() == f"{sys.executable} -m pip install"
    beside = str(Path(sys.executable).parent / "pip")
    monkeypatch.setattr(extras.shutil, "which", lambda name: beside)
    assert extras.installer() == "pip install"
