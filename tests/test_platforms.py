"""What differs between systems, seen on this one; and the whole path on a simulated Windows."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.elsewhere import LINUX, elsewhere, python, said
from lesionlab import files, platforms
from lesionlab.data.linked_dataset import LINKS
from lesionlab.errors import BadInput

MODULES = [
    pytest.param("fcntl", marks=pytest.mark.skipif(platforms.WINDOWS, reason="no fcntl here")),
    pytest.param("msvcrt", marks=LINUX),
]


# ---- locks -----------------------------------------------------------------------------------

HOLD = """
import sys
from lesionlab import platforms
assert platforms.WINDOWS == (sys.argv[2] == "msvcrt")
with open(sys.argv[1], "a+", encoding="utf-8") as stream:
    print(platforms.try_lock(stream), flush=True)
    stream.write("mine"); stream.flush()
    sys.stdin.readline()
"""


def holder(path: Path, module: str) -> subprocess.Popen[str]:
    env = elsewhere() if module == "msvcrt" else dict(os.environ)
    return python(HOLD, str(path), module, env=env)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("end", ["closed", "killed"])
def test_a_lock_excludes_other_processes_until_its_holder_ends(
    module: str, end: str, tmp_path: Path
) -> None:
    path = tmp_path / ".lock"
    first = holder(path, module)
    assert said(first) == "True"
    second = holder(path, module)
    assert said(second) == "False"
    second.communicate("\n")
    assert path.read_text(encoding="utf-8").startswith("mine")  # others read what the holder wrote
    assert path.stat().st_size < 100  # the locked byte makes the file no longer
    if end == "killed":
        first.kill()
    first.communicate(None if end == "killed" else "\n")
    third = holder(path, module)
    assert said(third) == "True"
    third.communicate("\n")


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    module = "msvcrt" if platforms.WINDOWS else "fcntl"
    first = holder(path, module)
    assert said(first) == "True"
    code = HOLD.replace("print(platforms.try_lock(stream)", "print(platforms.wait_for_lock(stream)")
    second = python(code, str(path), module)
    time.sleep(1.0)
    freed = time.monotonic()
    first.communicate("\n")
    assert said(second) == "None"
    assert time.monotonic() - freed < 20
    second.communicate("\n")


def test_without_any_kind_of_lock_nothing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms, "_fcntl", None)
    monkeypatch.setattr(platforms, "_msvcrt", None)
    with (tmp_path / "a").open("wb") as stream, pytest.raises(BadInput, match="neither"):
        platforms.try_lock(stream)


def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fcntl:
        LOCK_EX = LOCK_NB = 0

        @staticmethod
        def flock(*_: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(platforms, "_fcntl", Fcntl)
    with (tmp_path / "a").open("wb") as stream, pytest.raises(BadInput, match="local disk"):
        platforms.try_lock(stream)


# ---- processors, durable writing -------------------------------------------------------------


@pytest.mark.parametrize(
    ("affinity", "counted", "quota", "n"),
    [
        ({0, 1, 5}, 64, None, 3),
        (None, 7, None, 7),
        (None, None, None, 1),
        (set(range(16)), 64, "max 100000", 16),
        (set(range(16)), 64, "250000 100000", 3),
        (None, 8, "50000 100000", 1),
        ({0}, 8, "rubbish", 1),
    ],
)
def test_processors_are_counted_by_affinity_and_quota(
    affinity: set[int] | None,
    counted: int | None,
    quota: str | None,
    n: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platforms, "CGROUP", tmp_path)
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n", encoding="ascii")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    if affinity is not None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: affinity, raising=False)
    for name in ("cpu_count", "process_cpu_count"):
        monkeypatch.setattr(os, name, lambda: counted, raising=False)
    assert platforms.usable_cpus() == n


def test_a_folder_that_cannot_be_opened_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    platforms.sync_folder(tmp_path)
    files.write_text(tmp_path / "a", "whole")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "whole"


@pytest.mark.skipif(platforms.WINDOWS, reason="folders cannot be opened here")
def test_where_it_can_be_opened_a_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    platforms.sync_folder(tmp_path)
    assert len(synced) == 1


def test_macos_is_asked_for_more_than_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fcntl:
        F_FULLFSYNC = 51
        works = True
        called: tuple[int, ...] = ()

        @classmethod
        def fcntl(cls, *given: int) -> None:
            cls.called = given
            if not cls.works:
                raise OSError(errno.ENOTSUP, "not supported")

    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(platforms, "_fcntl", Fcntl)
    platforms.sync_file(7)
    assert (Fcntl.called, synced) == ((7, 51), [])
    Fcntl.works = False
    platforms.sync_file(8)
    assert synced == [8]


def busy(times: int, real: Callable[..., Any]) -> Callable[..., Any]:
    left = [times]

    def act(*given: Any, **more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "used by another process")
        return real(*given, **more)

    return act


@pytest.mark.parametrize(("windows", "times", "moved"), [(True, 3, True), (False, 1, False)])
def test_windows_is_given_time_to_let_go_of_a_file(
    windows: bool, times: int, moved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms, "WINDOWS", windows)
    monkeypatch.setattr(Path, "replace", busy(times, Path.replace))
    if not moved:
        with pytest.raises(PermissionError):
            files.write_text(tmp_path / "a", "new")
    else:
        files.write_text(tmp_path / "a", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"] * moved


def test_who_never_lets_go_is_told_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms, "WINDOWS", True)
    monkeypatch.setattr(platforms, "PATIENCE", 0.1)
    monkeypatch.setattr(Path, "unlink", busy(1000, Path.unlink))
    with pytest.raises(PermissionError):
        platforms.remove(tmp_path / "a")


def test_room_is_reserved_without_a_call_for_it_and_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    path = tmp_path / "a"
    with path.open("wb") as stream:
        stream.write(b"head")
        stream.truncate(3 * 2**20 + 5)
        stream.seek(0, 2)
        stream.write(b"tail")
    before = path.read_bytes()
    platforms.reserve_space(path)
    assert path.read_bytes() == before
    if hasattr(path.stat(), "st_blocks"):
        assert path.stat().st_blocks * 512 >= len(before)


def test_where_links_take_a_privilege_a_folder_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "a required privilege is not held")

    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"a")
    platforms.link_folder(tmp_path / "images", tmp_path / "linked")
    monkeypatch.setattr(Path, "symlink_to", refused)
    platforms.link_folder(tmp_path / "images", tmp_path / "copied")
    assert (tmp_path / "linked").is_symlink() or platforms.WINDOWS
    for name in ("linked", "copied"):
        assert (tmp_path / name / "a.png").read_bytes() == b"a"
    assert "images" in LINKS


# ---- names and text --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ISIC_1", "a.png", ".hidden", "naïve", "a b", "icon", "com10"])
def test_harmless_names_stay_as_they_are(name: str) -> None:
    assert platforms.safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("CON", "con.png", "nul .x", "COM1.txt", "lpt¹", "CONIN$", "a:b", "a/b", "a\\b", "a?.png"),
        *("a.", "a ", "", ".", "..", "a\nb", "x" * 300, "é" * 150, "\ud800:", "." * 50),
    ],
)
def test_a_name_that_windows_forbids_is_changed_and_marked(name: str) -> None:
    made = platforms.safe_name(name)
    assert made != name
    assert re.search(r"-[0-9a-f]{8}(\.|$)", made)
    assert allowed(made), made


def allowed(name: str) -> bool:
    return (
        not re.search(r'[<>:"/\\|?*\x00-\x1f]|[. ]$', name)
        and not platforms.is_device(name)
        and 0 < len(name.encode("utf-8", "surrogatepass")) <= 255
    )


@given(st.lists(st.text(), unique=True, max_size=5))
def test_any_text_becomes_a_name_of_its_own_that_every_system_takes(texts: list[str]) -> None:
    names = [platforms.safe_name(text) for text in texts]
    assert all(map(allowed, names))
    assert len(set(names)) == len(names)
    assert [platforms.safe_name(name) for name in names] == names


def test_paths_that_are_too_long_get_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(Path, "write_bytes", too_long)
    with pytest.raises(FileNotFoundError):
        files.write_text(tmp_path / ("x" * 240), "")
    monkeypatch.setattr(platforms, "WINDOWS", True)
    with pytest.raises(BadInput, match=r"characters.*shorter folder"):
        files.write_text(tmp_path / ("x" * 240), "")


@pytest.mark.parametrize(("terminal", "shown"), [(False, "–é".encode()), (True, b"\\u2013\xe9")])
def test_what_the_code_page_does_not_have_is_printed_all_the_same(
    terminal: bool, shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", stream)
    platforms.plain_streams()
    print("–é", end="", flush=True)
    assert raw.getvalue() == shown


def test_what_other_systems_put_into_json_and_toml_is_read(tmp_path: Path) -> None:
    from lesionlab.experiments.presets import load_preset

    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{\r\n"a": 1}\r\n')
    assert files.read_json(tmp_path / "a.json") == {"a": 1}
    text = 'extends = "demo"\r\nname = "mine"\r\n'.encode("utf-8-sig")
    (tmp_path / "mine.toml").write_bytes(text)
    assert load_preset(str(tmp_path / "mine.toml")).name == "mine"
