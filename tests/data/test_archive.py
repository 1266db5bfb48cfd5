from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from lesionlab.data.archive import ArchiveLimits, open_tree
from lesionlab.errors import BadInput


def make_zip(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read_all(path: Path, **options: object) -> dict[str, bytes]:
    with open_tree(path, **options) as tree:  # type: ignore[arg-type]
        return {name: tree.read(name) for name in tree.names}


MEMBERS = {"b/2.txt": b"two", "a/1.txt": b"one", "__MACOSX/x": b"junk", ".DS_Store": b"junk"}
SEEN = {"a/1.txt": b"one", "b/2.txt": b"two"}


@pytest.mark.parametrize(
    ("name", "mode"),
    [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tgz", "w:gz"), ("x.tar.bz2", "w:bz2"),
     ("x.tar.xz", "w:xz")],
)  # fmt: skip
def test_tar_reads_like_zip_and_folder(tmp_path: Path, name: str, mode: str) -> None:
    assert read_all(make_tar(tmp_path / name, MEMBERS, mode)) == SEEN


def test_zip_and_folder_give_the_same_names_and_bytes(tmp_path: Path) -> None:
    assert read_all(make_zip(tmp_path / "x.zip", MEMBERS)) == SEEN
    for name, data in MEMBERS.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert read_all(tmp_path / "folder") == SEEN


def test_nested_archives_are_seen_as_folders(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "part_1.zip", {"1.txt": b"one"}).read_bytes()
    tar = make_tar(tmp_path / "part_2.tar.gz", {"2.txt": b"two"}, "w:gz").read_bytes()
    outer = make_zip(tmp_path / "all.zip", {"d/part_1.zip": inner, "part_2.tar.gz": tar})
    assert read_all(outer) == {"d/part_1/1.txt": b"one", "part_2/2.txt": b"two"}


def test_archives_in_a_folder_are_opened(tmp_path: Path) -> None:
    make_zip(tmp_path / "part_1.zip", {"1.txt": b"one"})
    (tmp_path / "t.csv").write_text("x")
    assert read_all(tmp_path) == {"part_1/1.txt": b"one", "t.csv": b"x"}


def test_too_deep_nesting_is_refused(tmp_path: Path) -> None:
    data = make_zip(tmp_path / "0.zip", {"x": b"x"}).read_bytes()
    for depth in range(1, 5):
        data = make_zip(tmp_path / f"{depth}.zip", {"in.zip": data}).read_bytes()
    with pytest.raises(BadInput, match="too deeply"):
        read_all(tmp_path / "4.zip")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.txt", "outside"),
        ("a/../../evil.txt", "outside"),
        ("a\\..\\..\\evil.txt", "outside"),
        ("/etc/passwd", "absolute"),
        ("C:\\evil.txt", "absolute"),
        ("a/CON", "device"),
        ("nul.jpg", "device"),
        ("a/LPT1.txt", "device"),
        ("a\nb.txt", "control"),
    ],
)
def test_hostile_names_are_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        read_all(make_zip(tmp_path / "x.zip", {name: b"x"}))
    with pytest.raises(BadInput, match=why):
        read_all(make_tar(tmp_path / "x.tar", {name: b"x"}))


def test_links_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BadInput, match="link"):
        read_all(tmp_path / "x.zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            member = tarfile.TarInfo("link.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        with pytest.raises(BadInput, match="link or device"):
            read_all(tmp_path / "x.tar")


def test_case_collisions_are_refused_unless_the_files_are_the_same(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="collide"):
        read_all(make_zip(tmp_path / "x.zip", {"a/1.jpg": b"x", "A/1.jpg": b"y"}))
    twice = make_zip(tmp_path / "y.zip", {"HAM/1.jpg": b"x", "ham/1.jpg": b"x"})
    assert read_all(twice) == {"HAM/1.jpg": b"x"}


def test_bombs_are_refused(tmp_path: Path) -> None:
    zeros = b"\0" * 200_000
    bomb = make_zip(tmp_path / "x.zip", {"zeros.txt": zeros}, zipfile.ZIP_DEFLATED)
    small = ArchiveLimits(ratio_from=100_000)
    with pytest.raises(BadInput, match="bomb"):
        read_all(bomb, limits=small)
    with pytest.raises(BadInput, match="bomb"):
        read_all(make_tar(tmp_path / "x.tar.gz", {"zeros.txt": zeros}, "w:gz"), limits=small)
    with pytest.raises(BadInput, match="bomb"):
        read_all(bomb, limits=ArchiveLimits(total_bytes=1000))
    with pytest.raises(BadInput, match="more than 1 entries"):
        read_all(
            make_zip(tmp_path / "n.zip", {"1": b"", "2": b""}), limits=ArchiveLimits(entries=1)
        )
    with pytest.raises(BadInput, match="more than 1 entries"):
        read_all(
            make_tar(tmp_path / "n.tar", {"1": b"", "2": b""}), limits=ArchiveLimits(entries=1)
        )


def forge_size(path: Path, size: int) -> None:
    """Overwrite the uncompressed size of the only member in the central directory."""
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = size.to_bytes(4, "little")
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("size", [10, 400_000])
def test_forged_sizes_are_refused(tmp_path: Path, size: int) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.txt": b"x" * 200_000}, zipfile.ZIP_DEFLATED)
    forge_size(path, size)
    with pytest.raises(BadInput, match=r"damaged|bytes, but"):
        read_all(path)


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.txt": b"x" * 5000})
    data = bytearray(path.read_bytes())
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    record = bytes(data[start:end])
    tail = bytearray(data[end:])
    tail[8:12] = (3).to_bytes(2, "little") * 2
    tail[12:16] = (3 * len(record)).to_bytes(4, "little")
    path.write_bytes(bytes(data[:start]) + record * 3 + bytes(tail))
    with pytest.raises(BadInput, match="overlap"):
        read_all(path)


def test_damaged_and_absent_archives_are_one_clear_line(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "x.zip", {"a.txt": b"x" * 5000}).read_bytes()
    (tmp_path / "half.zip").write_bytes(whole[:3000])
    (tmp_path / "half.tar.gz").write_bytes(b"\x1f\x8b garbage")
    (tmp_path / "text.tar").write_bytes(b"not a tar file")
    for name in ("half.zip", "half.tar.gz", "text.tar"):
        with pytest.raises(BadInput, match="not a readable"):
            read_all(tmp_path / name)
    with pytest.raises(BadInput, match="no such file"):
        read_all(tmp_path / "absent.zip")


def test_a_damaged_member_says_so(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.txt": b"x" * 5000})
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BadInput, match=r"a\.txt: damaged"):
        read_all(path)


def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_text("x")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert list(read_all(tmp_path)) == ["a/1.txt"]


def test_empty_folders_are_known(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.txt").write_text("x")
    with open_tree(tmp_path) as tree:
        assert tree.empty == ("a",)
