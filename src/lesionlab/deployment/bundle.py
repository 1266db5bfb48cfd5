"""The bundle artefact: `model.onnx`, `bundle.json`, `MODEL_CARD.md`; a folder or one zip file.

It is read with suspicion: nothing but the files below, every hash checked, no pickle anywhere,
the model walked for external data and foreign operators (`onnx_check`). No torch.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab import files
from lesionlab.config import parse
from lesionlab.data.images import Preprocessing
from lesionlab.deployment.onnx_check import check_onnx
from lesionlab.deployment.schema import SCHEMA_VERSION, BundleInfo, FileRecord
from lesionlab.errors import BadInput, one_line
from lesionlab.evaluation.calibration import log_prior_ratio

MODEL = "model.onnx"
INFO = "bundle.json"
CARD = "MODEL_CARD.md"
SIGNATURE = "bundle.sig"
# Arrays beside the model, as .npy without pickle: name -> what it is.
ARRAYS = {
    "bank.npy": "(n, D) float16, embeddings of training images",
    "bank_labels.npy": "(n,) int16, their classes",
    "ood_mean.npy": "(D,) float32, mean of the training embeddings",
    "ood_basis.npy": "(r, D) float32, directions scaled by 1 / standard deviation",
}
NPY_HEADER = re.compile(
    r"\{'descr': '(?P<dtype><[fi][248]|\|i1)', 'fortran_order': False, "
    r"'shape': \((?P<shape>(?:\d{1,12},? ?){1,4})\), \}\s*"
)
# What the standard library raises at a damaged or hostile zip.
DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError,
          ValueError, OverflowError, struct.error)  # fmt: skip
ALLOWED = (MODEL, INFO, CARD, SIGNATURE, *ARRAYS)
MAX_MODEL = 2 * 1024**3  # bytes: what protobuf can hold
MAX_ARRAY = 256 * 1024**2  # 2,000 embeddings in float16 are 5 MB for MobileNetV2
MAX_TEXT = 8 * 1024**2  # description, card, signature
BOMB_BYTES, BOMB_RATIO = 16 * 1024**2, 50  # weights hardly shrink; a bomb shrinks a thousandfold


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory, checked. `identity`: SHA-256 of bundle.json, which has all hashes."""

    source: Path
    info: BundleInfo
    model: bytes
    arrays: Mapping[str, npt.NDArray[Any]]
    card: str
    identity: str
    signature: bytes | None = field(default=None, repr=False)

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes this model's input."""
        return Preprocessing(**self.info.preprocessing.model_dump())

    def log_prior_ratio(self) -> npt.NDArray[np.float32]:
        """(K,) log prior - log train_prior, in the order of `classes`."""
        info = self.info
        prior = [info.prior[c] for c in info.classes]
        trained = [info.train_prior[c] for c in info.classes]
        return log_prior_ratio(prior, trained).astype(np.float32)


def read_bundle(path: Path) -> Bundle:
    """Read a bundle folder or zip and check all of it before anything is run.

    Raises `BadInput` for a missing, foreign, linked, oversized or altered file, for a model with
    external data, foreign operators or NaN weights, and for a `bundle.json` of a newer version.
    """
    return bundle_of(read_files(Path(path)), Path(path))


def bundle_of(content: Mapping[str, bytes], path: Path) -> Bundle:
    """The bundle of these files, checked as `read_bundle` does; errors name `path`."""
    if INFO not in content:
        raise BadInput(
            f"not a bundle (no {INFO})", where=str(path), remedy="make one with: lesionlab export"
        )
    info = _parse_info(content[INFO], f"{path}/{INFO}")
    _check_files(content, info, path)
    check_onnx(content[MODEL], f"{path}/{MODEL}")
    arrays = {n: read_array(content[n], f"{path}/{n}") for n in ARRAYS if n in content}
    _check_arrays(arrays, info, path)
    return Bundle(
        path,
        info,
        content[MODEL],
        arrays,
        content[CARD].decode("utf-8", "replace"),
        identity_of(content[INFO]),
        content.get(SIGNATURE),
    )


def identity_of(info: bytes) -> str:
    """What a bundle is known by: the SHA-256 of `bundle.json`, which holds all other hashes."""
    return hashlib.sha256(info).hexdigest()


def read_files(path: Path) -> dict[str, bytes]:
    """name -> bytes of a bundle folder or zip; only names, sizes and links are checked."""
    return _read_zip(path) if path.is_file() else _read_folder(path)


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise BadInput(
            "no such bundle", where=str(folder), remedy="make one with: lesionlab export"
        )
    content = {}
    try:
        for entry in sorted(folder.iterdir()):
            if entry.is_symlink() or not entry.is_file():
                raise BadInput(
                    "a bundle may not contain links or folders", where=_named(folder, entry.name)
                )
            _check_member(entry.name, entry.stat().st_size, folder)
            content[entry.name] = entry.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", where=str(folder)) from None
    return content


def _read_zip(path: Path) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > len(ALLOWED):
                raise BadInput(f"{len(entries)} entries, too many for a bundle", where=str(path))
            for entry in entries:
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise BadInput(
                        "a bundle may not contain links", where=_named(path, entry.filename)
                    )
                if entry.filename in content:
                    raise BadInput("occurs twice", where=_named(path, entry.filename))
                _check_member(entry.filename, entry.file_size, path)
                _check_packing(entry, path)
                content[entry.filename] = _inflate(archive, entry, path)
    except DAMAGE as error:
        raise BadInput(f"neither a bundle folder nor a zip ({error})", where=str(path)) from None
    return content


def _check_packing(entry: zipfile.ZipInfo, path: Path) -> None:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadInput(
            "compressed by a method other than deflate", where=_named(path, entry.filename)
        )
    if entry.file_size > max(BOMB_BYTES, BOMB_RATIO * entry.compress_size):
        raise BadInput(
            f"{entry.compress_size} bytes claim to hold {entry.file_size}",
            where=_named(path, entry.filename),
            remedy="no model compresses that well: do not use it",
        )


def _inflate(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes:
    """The entry's bytes; real bytes are counted, whatever its header claims."""
    limit = entry.file_size
    with archive.open(entry) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise BadInput("larger than it claims", where=_named(path, entry.filename))
    return data


def _check_member(name: str, size: int, path: Path) -> None:
    if name not in ALLOWED:
        raise BadInput(
            "does not belong in a bundle",
            where=_named(path, name),
            remedy=f"allowed: {', '.join(ALLOWED)}",
        )
    limit = limit_of(name)
    if size > limit:
        raise BadInput(f"{size} bytes, more than {limit}", where=_named(path, name))


def limit_of(name: str) -> int:
    """Bytes that a file of a bundle may have."""
    if name == MODEL:
        return MAX_MODEL
    return MAX_ARRAY if name in ARRAYS else MAX_TEXT


def _named(path: Path, name: str) -> str:
    return one_line(f"{path}/{name}")


def _parse_info(data: bytes, where: str) -> BundleInfo:
    try:
        raw = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not valid JSON ({error})", where=where) from None
    files.refuse_newer(raw, SCHEMA_VERSION, where)
    return parse(BundleInfo, raw, where)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _check_files(content: Mapping[str, bytes], info: BundleInfo, path: Path) -> None:
    recorded, present = set(info.files), set(content) - {INFO, SIGNATURE}
    for name in sorted({MODEL, CARD} | recorded):
        if name not in content:
            raise BadInput("is missing", where=_named(path, name), remedy="copy the bundle again")
    for name in sorted(present):
        record = info.files.get(name)
        data = content[name]
        if record is None or hashlib.sha256(data).hexdigest() != record.sha256:
            raise BadInput(
                f"its SHA-256 differs from the one in {INFO}",
                where=_named(path, name),
                remedy="the file was altered or damaged: copy the bundle again",
            )


def read_array(data: bytes, where: str) -> npt.NDArray[Any]:
    """A .npy array without objects (numpy runs no pickle) whose length agrees with its header."""
    try:
        dtype, shape, start = _npy_header(data)
        if math.prod(shape) * dtype.itemsize != len(data) - start:
            raise ValueError("its length does not fit its header")
        array = np.frombuffer(data, dtype, offset=start).reshape(shape)
    except ValueError as error:
        raise BadInput(f"not a plain .npy array ({error})", where=where) from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadInput("holds NaN or infinity", where=where)
    return array


def _npy_header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type, shape and length of the header: a pattern, where numpy would parse Python."""
    if data[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("no .npy of version 1.0")
    start = 10 + int.from_bytes(data[8:10], "little")
    header = NPY_HEADER.fullmatch(data[10:start].decode("latin-1"))
    if header is None:
        raise ValueError("not a numeric array in C order")
    shape = tuple(int(n) for n in header["shape"].split(",") if n.strip())
    return np.dtype(header["dtype"]), shape, start


def _check_arrays(arrays: Mapping[str, npt.NDArray[Any]], info: BundleInfo, path: Path) -> None:
    size = info.embedding_size
    wanted = {"bank.npy": 2, "ood_basis.npy": 2, "ood_mean.npy": 1}
    for name, dimensions in wanted.items():
        if name in arrays and (arrays[name].ndim != dimensions or arrays[name].shape[-1] != size):
            raise BadInput(
                f"shape {arrays[name].shape} does not fit an embedding of {size}",
                where=_named(path, name),
            )
    if info.ood is not None and not set(wanted) <= set(arrays):
        raise BadInput("the out-of-distribution arrays are missing", where=str(path))
    if ("bank.npy" in arrays) != ("bank_labels.npy" in arrays):
        raise BadInput("bank.npy and bank_labels.npy belong together", where=str(path))
    if "bank.npy" in arrays:
        labels = arrays["bank_labels.npy"]
        if labels.shape != arrays["bank.npy"].shape[:1] or labels.dtype.kind != "i":
            raise BadInput("labels do not fit the bank", where=_named(path, "bank_labels.npy"))
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(info.classes):
            raise BadInput("a label is not a class", where=_named(path, "bank_labels.npy"))


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """The .npy file of a numeric array, format 1.0."""
    stream = io.BytesIO()
    np.lib.format.write_array(
        stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False
    )
    return stream.getvalue()


def record(content: Mapping[str, bytes]) -> dict[str, FileRecord]:
    """Length and hash of each file, for `BundleInfo.files`."""
    return {
        name: FileRecord(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in content.items()
    }


def info_bytes(info: BundleInfo) -> bytes:
    """`bundle.json` as bytes."""
    text = json.dumps(info.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def write_bundle(to: Path, content: Mapping[str, bytes]) -> None:
    """Write the files as a folder, or as one zip where `to` ends in .zip; whole or not at all."""
    files.refuse_existing(to)
    try:
        if to.suffix.lower() == ".zip":
            _write_zip(to, content)
            return
        with files.stage_folder(to) as aside:
            for name, data in content.items():
                files.write_bytes(aside / name, data)
    except OSError as error:
        raise BadInput(
            f"cannot be written ({error.strerror})", where=str(to), remedy="choose another place"
        ) from None


def _write_zip(to: Path, content: Mapping[str, bytes]) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    with files.stage_file(to) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # the same bytes every time
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, data)
