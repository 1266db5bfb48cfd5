"""The page as a folder for any static host: what goes into it, and what npm may get wrong."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lesionlab.deployment import static_page
from lesionlab.deployment.bundle import Bundle, read_bundle
from lesionlab.deployment.static_page import LIBRARIES, POLICY, Library, build_page, fetch
from lesionlab.deployment.web import static_files
from lesionlab.errors import BadInput

Npm = Callable[..., None]


def packed(files: Mapping[str, bytes | None]) -> bytes:
    """An npm archive; None is a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content or b"")
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            archive.addfile(entry, io.BytesIO(content or b""))
    return stream.getvalue()


GOOD = packed({"package/a.js": b"a = 1", "package/b.wasm": b"\0asm", "package/other": b"x"})


def library(data: bytes = GOOD, **members: str) -> Library:
    """The pinned package that `data` is."""
    sha512 = base64.b64encode(hashlib.sha512(data).digest()).decode()
    wanted = members or {"package/a.js": "vendor/a.js", "package/b.wasm": "vendor/deep/b.wasm"}
    return Library("some-package", "1.2.3", sha512, "MIT", wanted)


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch) -> Npm:
    """`npm(data, ...)`: an npm that writes `data` and answers so."""

    def answers(data: bytes = GOOD, code: int = 0, out: str = "p.tgz\n", error: str = "") -> None:
        def run(command: list[str], **_: Any) -> Any:
            assert command[1:3] == ["pack", "some-package@1.2.3"]
            assert "--ignore-scripts" in command  # nothing of a package is ever run
            (Path(command[-1]) / "p.tgz").write_bytes(data)
            return subprocess.CompletedProcess(command, code, out, error)

        monkeypatch.setattr(shutil, "which", lambda _: "npm")
        monkeypatch.setattr(subprocess, "run", run)

    return answers


def test_members_go_where_they_are_wanted(npm: Npm, tmp_path: Path) -> None:
    npm(out="npm notice\np.tgz\n")
    found = fetch(library(), tmp_path)
    assert found == {"vendor/a.js": b"a = 1", "vendor/deep/b.wasm": b"\0asm"}


def test_another_archive_than_the_pinned_one_is_refused(npm: Npm, tmp_path: Path) -> None:
    npm(packed({"package/a.js": b"steal()", "package/b.wasm": b""}))
    with pytest.raises(BadInput, match=r"some-package@1\.2\.3 is not the pinned one.*do not use"):
        fetch(library(), tmp_path)


@pytest.mark.parametrize("absent", [{"package/b.js": b"1"}, {"package/a.js": None}])
def test_a_package_without_a_file_that_is_wanted(
    npm: Npm, tmp_path: Path, absent: dict[str, bytes | None]
) -> None:
    """It is not there, or is a folder."""
    data = packed(absent)
    npm(data)
    with pytest.raises(BadInput, match=r"no file 'package/a\.js' in some-package 1\.2\.3"):
        fetch(library(data, **{"package/a.js": "vendor/a.js"}), tmp_path)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"code": 1, "error": "ENOTFOUND\nmore\n"}, r"\(ENOTFOUND\); check the network"),
        ({"code": 1}, r"\(no answer\)"),
        ({"out": ""}, r"\(no answer\)"),
        ({"out": "other.tgz\n"}, r"\(no answer\)"),
    ],
)
def test_what_npm_says_when_it_cannot_fetch(
    npm: Npm, tmp_path: Path, answer: dict[str, Any], reason: str
) -> None:
    npm(**answer)
    with pytest.raises(BadInput, match=r"npm cannot fetch some-package@1\.2\.3 " + reason):
        fetch(library(), tmp_path)


def test_an_npm_that_hangs_or_is_absent(
    npm: Npm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm()

    def hanging(command: list[str], timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hanging)
    with pytest.raises(BadInput, match=r"npm cannot fetch .* \(no answer within 600 s\)"):
        fetch(library(), tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(BadInput, match=r"--web needs npm; install Node\.js"):
        fetch(library(), tmp_path)


@pytest.fixture
def vendored(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Libraries without npm: each file holds its own name, until a test changes one."""
    content = {place: place.encode() for one in LIBRARIES for place in one.members.values()}

    def taken(one: Library, _: Path) -> dict[str, bytes]:
        return {place: content[place] for place in one.members.values()}

    monkeypatch.setattr(static_page, "fetch", taken)
    return content


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return read_bundle(bundle_folder)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def version(folder: Path) -> str:
    found = re.search(r"lesionlab-[0-9a-f]{16}", (folder / "sw.js").read_text("utf-8"))
    assert found
    return found.group()


def test_the_folder_holds_page_libraries_and_bundle(
    bundle: Bundle, vendored: dict[str, bytes], tmp_path: Path
) -> None:
    page = build_page(bundle, tmp_path / "page")
    found = files_of(page)
    own = {f"bundle/{p.name}": p.read_bytes() for p in bundle.source.iterdir()}
    assert set(found) == set(static_files()) | set(vendored) | set(own) | {"vendor/README.txt"}
    assert {name: found[name] for name in {**vendored, **own}} == {**vendored, **own}
    assert POLICY in found["index.html"].decode()
    notice = found["vendor/README.txt"].decode()
    assert all(f"{one.name} {one.version}, licence {one.licence}" in notice for one in LIBRARIES)


def test_the_worker_keeps_every_file_for_work_without_a_network(
    bundle: Bundle, vendored: dict[str, bytes], tmp_path: Path
) -> None:
    page = build_page(bundle, tmp_path / "page")
    text = (page / "sw.js").read_text("utf-8")
    assert "__VERSION__" not in text
    kept = json.loads(re.findall(r"\[[^\]]*\"\./\"[^\]]*\]", text)[0])
    assert kept[0] == "./"  # index.html, by the name that a browser asks for
    assert sorted(kept[1:]) == sorted(set(files_of(page)) - {"sw.js", "index.html"})
    assert set(vendored) < set(kept)


def test_the_version_changes_with_any_file_and_with_nothing_else(
    bundle: Bundle, bundle_folder: Path, vendored: dict[str, bytes], tmp_path: Path
) -> None:
    """Otherwise a browser would go on with the files of before."""
    first = version(build_page(bundle, tmp_path / "first"))
    assert version(build_page(bundle, tmp_path / "again")) == first
    changed = shutil.copytree(bundle_folder, tmp_path / "changed")
    (changed / "MODEL_CARD.md").write_text("another card")
    other = replace(bundle, source=changed)
    versions = {first, version(build_page(other, tmp_path / "second"))}
    place = min(vendored)
    vendored[place] += b" "
    versions.add(version(build_page(bundle, tmp_path / "third")))
    assert len(versions) == 3


def test_it_is_whole_or_not_at_all(
    bundle: Bundle, vendored: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(BadInput, match="already exists and is not empty"):
        build_page(bundle, tmp_path / "mine")
    del vendored[min(vendored)]
    with pytest.raises(KeyError):
        build_page(bundle, tmp_path / "page")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
