from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.picture_files import TURNED_HEIC, multi_picture, noise
from lesionlab.data.importing import import_source, safe_path
from lesionlab.data.manifest import COLUMNS, read_dataset
from lesionlab.data.sources.table import SOURCES, source_named
from lesionlab.errors import BadInput
from lesionlab.platforms import is_device


def picture(seed: int, form: str = "JPEG", size: tuple[int, int] = (32, 24)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def two_classes(n: int = 4) -> dict[str, bytes]:
    return {f"{c}/{i}.jpg": picture(10 * k + i) for k, c in enumerate(("ben", "mal"))
            for i in range(n)}  # fmt: skip


HAM_HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


def ham_files() -> dict[str, bytes]:
    rows = [
        "HAM_1,ISIC_1,nv,histo,45.0,male,back",
        "HAM_1,ISIC_2,nv,histo,45.0,male,back",
        "HAM_2,ISIC_3,mel,histo,,unknown,unknown",
    ]
    files = {f"part_{n % 2}/ISIC_{n}.jpg": picture(n) for n in (1, 2, 3)}
    return {**files, "HAM10000_metadata.csv": (HAM_HEADER + "\n".join(rows) + "\n").encode()}


def nothing_left(folder: Path) -> bool:
    return not [p for p in folder.iterdir() if p.name.startswith(("out", ".out"))]


@pytest.mark.parametrize("packed", [False, True])
def test_ham10000_from_folder_and_archive(tmp_path: Path, packed: bool) -> None:
    files = ham_files()
    src = zipped(tmp_path / "a.zip", files) if packed else fill(tmp_path / "a", files)
    told = import_source(source_named("ham10000"), src, tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    assert list(dataset.table.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert dataset.info == told.info
    row = dataset.table.set_index("image_id").loc["ISIC_3"]
    assert (row["label"], row["lesion_id"], row["sex"], row["site"]) == ("mel", "HAM_2", "", "")
    assert np.isnan(row["age"])
    assert (row["width"], row["height"], row["dx_type"]) == (32, 24, "histo")
    assert row["original_file"] == "part_1/ISIC_3.jpg"
    data = (tmp_path / "out" / row["path"]).read_bytes()
    assert data == files["part_1/ISIC_3.jpg"]
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert dataset.info.forbidden_inputs == ("dx_type",)
    assert dataset.info.counts["classes"]["nv"] == 2
    assert "3 images instead of the published 10015" in dataset.info.notes


def test_nested_kaggle_layout(tmp_path: Path) -> None:
    files = ham_files()
    table = files.pop("HAM10000_metadata.csv")
    inner = zipped(tmp_path / "i.zip", {n.split("/")[1]: d for n, d in files.items()})
    src = zipped(tmp_path / "a.zip", {"HAM10000_images_part_1.zip": inner.read_bytes(),
                                      "HAM10000_metadata.csv": table,
                                      "hmnist_8_8_L.csv": b"a,b\n1,2\n"})  # fmt: skip
    dataset = import_source(source_named("ham10000"), src, tmp_path / "out")
    assert len(dataset.table) == 3


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda t: t.replace("dx_type", "dxtype"), "column 'dx_type' is missing.*'dxtype'"),
        (lambda t: t.replace("HAM_2,ISIC_3,mel", "HAM_2,ISIC_3,mole"), "'mole' of row 4"),
        (lambda t: t.replace("HAM_2,ISIC_3", "HAM_2,ISIC_1"), "'ISIC_1' is in rows that"),
        (lambda t: t.splitlines()[0] + "\n", "no rows"),
        (lambda t: "", "empty"),
        (lambda t: t + "HAM_1,ISIC_9\n", "row 5 has 2 fields"),
    ],
)  # fmt: skip
def test_bad_tables_are_one_clear_line_and_leave_nothing(tmp_path: Path, edit, why: str) -> None:  # type: ignore[no-untyped-def]
    files = ham_files()
    name = "HAM10000_metadata.csv"
    files[name] = edit(files[name].decode()).encode()
    fill(tmp_path / "a", files)
    with pytest.raises(BadInput, match=why):
        import_source(source_named("ham10000"), tmp_path / "a", tmp_path / "out")
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("fault", ["bom", "crlf", "semicolon", "latin", "index", "jpg", "twice"])
def test_odd_tables_are_read_and_the_oddity_is_said(tmp_path: Path, fault: str) -> None:
    files = ham_files()
    text = files["HAM10000_metadata.csv"].decode().replace("back", "rück")
    lines = text.splitlines()
    ways = {
        "bom": b"\xef\xbb\xbf" + text.encode(),
        "crlf": text.replace("\n", "\r\n").encode(),
        "semicolon": text.replace(",", ";").replace("45.0", "45,0").encode(),
        "latin": text.encode("latin-1"),
        "index": "\n".join(f"{n - 1 if n else ''},{t}" for n, t in enumerate(lines)).encode(),
        "jpg": text.replace(",nv", ".jpg,nv").replace(",mel", ".jpg,mel").encode(),
        "twice": (text + lines[1] + "\n").encode(),
    }
    files["HAM10000_metadata.csv"] = ways[fault]
    dataset = import_source(source_named("ham10000"), fill(tmp_path / "a", files), tmp_path / "out")
    assert list(dataset.table["age"][:2]) == [45.0, 45.0]
    assert dataset.table["site"][0] == "rück"
    said = {"bom": "byte order", "semicolon": "';'", "latin": "Latin-1", "index": "row numbers",
            "jpg": "3 ids had", "twice": "1 repeated row of"}  # fmt: skip
    if fault in said:
        assert any(said[fault] in note for note in dataset.info.notes)


def test_images_without_rows_and_rows_without_images(tmp_path: Path) -> None:
    files = ham_files()
    files["part_1/ISIC_7.jpg"] = picture(7)
    files["HAM10000_metadata.csv"] += b"HAM_8,ISIC_8,nv,histo,1,male,back\n"
    src = fill(tmp_path / "a", files)
    with pytest.raises(BadInput, match=r"1 of 4 images cannot be used.*ISIC_8.*--max-rejected"):
        import_source(source_named("ham10000"), src, tmp_path / "out")
    dataset = import_source(source_named("ham10000"), src, tmp_path / "out", max_rejected=0.5)
    assert dataset.info.counts["rejected"][0]["path"] == "ISIC_8"
    assert any("1 image is not named" in n and "ISIC_7" in n for n in dataset.info.notes)


def test_two_files_for_one_image(tmp_path: Path) -> None:
    files = ham_files()
    same = fill(tmp_path / "a", {**files, "copy/ISIC_1.jpg": files["part_1/ISIC_1.jpg"]})
    assert len(import_source(source_named("ham10000"), same, tmp_path / "o1").table) == 3
    other = fill(tmp_path / "b", {**files, "copy/ISIC_1.jpg": picture(99)})
    with pytest.raises(BadInput, match="different files for one image"):
        import_source(source_named("ham10000"), other, tmp_path / "o2")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no image", "not an image"),
        (picture(0)[:-200], "truncated"),
        (picture(0, size=(4, 4)), "too small"),
    ],
)
def test_unusable_images_are_quarantined_up_to_a_share(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    src = fill(tmp_path / "a", {**two_classes(), "ben/bad.jpg": data})
    with pytest.raises(BadInput, match=r"1 of 9 images cannot be used, the first is 'ben/bad.jpg'"):
        import_source(source_named("folder"), src, tmp_path / "out")
    assert nothing_left(tmp_path)
    dataset = import_source(source_named("folder"), src, tmp_path / "out", max_rejected=0.2)
    (rejected,) = dataset.info.counts["rejected"]
    assert rejected["path"] == "ben/bad.jpg"
    assert reason in rejected["reason"]
    assert len(list((tmp_path / "out" / "images").iterdir())) == 8


def test_an_output_that_exists_or_cannot_be_written(tmp_path: Path) -> None:
    src = fill(tmp_path / "a", two_classes())
    fill(tmp_path / "out", {"precious": b"x"})
    with pytest.raises(BadInput, match="already exists"):
        import_source(source_named("folder"), src, tmp_path / "out")
    assert (tmp_path / "out" / "precious").read_bytes() == b"x"
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot be written"):
        import_source(source_named("folder"), src, tmp_path / "file" / "out")


def test_sources_that_are_absent_empty_or_unknown(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        import_source(source_named("folder"), tmp_path / "absent", tmp_path / "out")
    with pytest.raises(BadInput, match="needs a folder or an archive"):
        import_source(source_named("folder"), None, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no images"):
        import_source(source_named("folder"), tmp_path / "empty", tmp_path / "out")
    with pytest.raises(BadInput, match="did you mean 'ham10000'"):
        source_named("ham1000")
    with pytest.raises(BadInput, match="'folder' has no option '--lesions'"):
        import_source(source_named("folder"), None, tmp_path / "out", options={"lesions": 3})


def test_hostile_ids_become_safe_paths(tmp_path: Path) -> None:
    files = {"ben/a b.jpg": picture(1), "ben/a_b.jpg": picture(2), "mal/ü<i>.jpg": picture(3),
             "mal/A_B.png": picture(4, "PNG")}  # fmt: skip
    dataset = import_source(source_named("folder"), fill(tmp_path / "a", files), tmp_path / "out")
    paths = list(dataset.table["path"])
    assert len({p.casefold() for p in paths}) == 4
    assert all(p.isascii() and (tmp_path / "out" / p).is_file() for p in paths)


@pytest.mark.parametrize("name", ["con", "NUL.1", "com1"])
def test_an_id_that_windows_takes_for_a_device_is_written_under_another_name(name: str) -> None:
    path = safe_path("images", name, ".png", set())
    assert not is_device(path.rpartition("/")[2])


@pytest.mark.parametrize("column", ["lesion_id", "image_id", "dx"])
def test_control_characters_are_taken_from_nobody(tmp_path: Path, column: str) -> None:
    files = ham_files()
    old = {"lesion_id": "HAM_2", "image_id": "ISIC_3", "dx": "mel"}[column]
    text = files["HAM10000_metadata.csv"].decode().replace(old, f"{old}\x1b[31m")
    src = fill(tmp_path / "a", {**files, "HAM10000_metadata.csv": text.encode()})
    with pytest.raises(BadInput) as caught:
        import_source(source_named("ham10000"), src, tmp_path / "out")
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_original_name_is_kept_but_for_what_cannot_be_printed(tmp_path: Path) -> None:
    files = ham_files()
    files["old \x1b\udcff/Scan 1.jpg"] = files.pop("part_1/ISIC_1.jpg")
    table = files["HAM10000_metadata.csv"].decode().replace("ISIC_1", "Scan 1")
    src = fill(tmp_path / "a", {**files, "HAM10000_metadata.csv": table.encode()})
    import_source(source_named("ham10000"), src, tmp_path / "out")
    rows = read_dataset(tmp_path / "out").table.set_index("image_id")
    assert rows.loc["Scan 1", "original_file"] == "old ��/Scan 1.jpg"
    assert rows.loc["Scan 1", "path"] == "images/Scan_1.jpg"


def test_a_field_without_end_is_one_clear_line(tmp_path: Path) -> None:
    files = ham_files()
    files["HAM10000_metadata.csv"] += b"x" * 200_000
    with pytest.raises(BadInput, match="not a CSV file"):
        import_source(source_named("ham10000"), fill(tmp_path / "a", files), tmp_path / "out")


def test_ids_that_may_be_one_are_said(tmp_path: Path) -> None:
    files = {f"{n}.jpg": picture(n) for n in range(6)}
    rows = ["image,label,patient", *(
        f"{n}.jpg,{'ab'[n % 2]},{who}" for n, who in enumerate(("p1", "P1", "1.0", "1", "2", "3"))
    )]  # fmt: skip
    fill(tmp_path / "src", {**files, "t.csv": "\n".join(rows).encode()})
    options = {"image_column": "image", "label_column": "label", "patient_column": "patient"}
    import_source(source_named("csv"), tmp_path / "src", tmp_path / "out", options=options)
    (note,) = [n for n in read_dataset(tmp_path / "out").info.notes if "differ from another" in n]
    assert note.startswith("4 values of patient_id")


def test_identical_images_are_kept_and_said(tmp_path: Path) -> None:
    src = fill(tmp_path / "a", {**two_classes(), "mal/again.jpg": picture(0)})
    dataset = import_source(source_named("folder"), src, tmp_path / "out")
    assert len(dataset.table) == 9
    assert any("1 image is a byte-identical copy" in n for n in dataset.info.notes)


def test_the_result_does_not_depend_on_threads(tmp_path: Path) -> None:
    for name in ("o1", "o2"):
        import_source(
            source_named("synthetic"), None, tmp_path / name, options={"lesions": 6, "seed": 3}
        )
    one, two = (pd.read_csv(tmp_path / n / "manifest.csv") for n in ("o1", "o2"))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize("name", list(SOURCES))
def test_every_source_keeps_the_contract(name: str) -> None:
    source = SOURCES[name]
    assert source.name == name
    assert source.title
    assert source.licence
    assert source.modality in ("dermoscopy", "clinical", "mammography", "ultrasound", "mixed",
                               "total body photograph", "unknown")  # fmt: skip
    assert isinstance(source.expected, dict)
    if "classes" in source.expected and "images" in source.expected:
        assert sum(source.expected["classes"].values()) in (
            source.expected["images"], source.expected.get("rows"))  # fmt: skip


@pytest.mark.real
@pytest.mark.slow
def test_ham10000_imports_with_the_published_counts(shared: Path, tmp_path: Path) -> None:
    src = shared / "data" / "ham10000.zip"
    dataset = import_source(source_named("ham10000"), src, tmp_path / "out")
    counts = dataset.info.counts
    assert (counts["images"], counts["lesions"], counts["rejected"]) == (10015, 7470, [])
    assert counts["classes"] == {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113,
                                 "nv": 6705, "vasc": 142}  # fmt: skip
    assert any("2 images are byte-identical" in n for n in dataset.info.notes)
    assert not any("instead of the published" in n for n in dataset.info.notes)


def odd_files() -> dict[str, bytes]:
    """Two classes, and beside them what phones, browsers and systems leave in folders."""
    extra = {
        "ben/web.jfif": picture(50),
        "ben/old.jpe": picture(51),
        "ben/tweet.jpg_large": picture(52),
        "ben/scan": picture(53, "PNG"),
        "ben/wrong.txt": picture(54),
        "ben/phone.jpg": multi_picture(noise(55)),
        "mal/new.avif": picture(56, "AVIF"),
        "mal/shot.HEIC": TURNED_HEIC,
        "mal/named.jpg": picture(57, "PNG"),
        "ben/.ipynb_checkpoints/0-checkpoint.jpg": picture(0),
        "ben/._0.jpg": b"\0\x05\x16\x07",
        "ben/Thumbs.db": b"\xd0\xcf\x11\xe0",
        "__MACOSX/ben/._1.jpg": b"\0\x05\x16\x07",
        "mal/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg": picture(9),
        "ben/notes.txt": b"a note",
        "ben/nothing": b"",
        "mal/old.gif": b"GIF89a",
        "mal/clip.mov": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
    }
    return {**two_classes(), **extra}


ODD_LEFT = {
    (".jpg", "in a hidden folder"), (".jpg", "a hidden file"), (".db", "a system's own file"),
    (".jpg", "metadata that macOS packs beside the files"),
    (".jpg", "thumbnails of a network disk"),
    (".txt", "text"), ("", "an empty file"), (".gif", "GIF: save it as PNG"), (".mov", "a video"),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_every_file_is_an_image_or_counted(tmp_path: Path, packed: bool) -> None:
    pytest.importorskip("pi_heif")
    files = odd_files()
    src = zipped(tmp_path / "a.zip", files) if packed else fill(tmp_path / "a", files)
    told = import_source(source_named("folder"), src, tmp_path / "out")
    counts = told.info.counts
    assert counts["classes"] == {"ben": 10, "mal": 7}
    assert {(g["suffix"], g["reason"]) for g in counts["left_out"]} == ODD_LEFT
    assert sum(g["files"] for g in counts["left_out"]) + counts["images"] == len(files)
    assert read_dataset(tmp_path / "out").info.counts == counts
    paths = told.table.set_index("image_id")["path"]
    assert {paths[i].rpartition(".")[2] for i in ("ben-scan", "ben-wrong")} == {"png", "jpg"}


def test_heic_without_its_decoder_is_counted_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    src = fill(tmp_path / "a", {**two_classes(), "mal/shot.HEIC": TURNED_HEIC})
    with pytest.raises(BadInput, match=r"1 of 9 images cannot be used.*extra 'heic'.*install it: "):
        import_source(source_named("folder"), src, tmp_path / "out")
    told = import_source(source_named("folder"), src, tmp_path / "out", max_rejected=0.2)
    (lost,) = told.info.counts["rejected"]
    assert lost["path"] == "mal/shot.HEIC"
    assert "install it: " in lost["reason"]


def test_a_source_without_images_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    src = fill(tmp_path / "a", {"ben/a.gif": b"GIF89a", "ben/.b.jpg": picture(1), "c.mov": b"x"})
    with pytest.raises(BadInput, match=r"no images.*1 \.gif file \(GIF: save it as PNG\)"):
        import_source(source_named("folder"), src, tmp_path / "out")
    with pytest.raises(BadInput, match=r"recognised.*1 \.jpg file \(a hidden file\)"):
        import_source(None, src, tmp_path / "out")


def test_a_table_that_was_read_is_not_left_out_and_any_other_is(tmp_path: Path) -> None:
    rows = "image,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(4))
    files = {f"{i}.jpg": picture(i) for i in range(5)} | {"t.csv": rows.encode(), "u.md": b"x"}
    told = import_source(None, fill(tmp_path / "a", files), tmp_path / "out")
    left = [(g["suffix"], g["reason"]) for g in told.info.counts["left_out"]]
    assert left == [(".jpg", "an image that is not named or not selected"), (".md", "text")]


def test_names_of_a_mac_in_a_zip_are_read(tmp_path: Path) -> None:
    """Its archiver writes UTF-8 and does not set the flag that says so."""
    plain = two_classes()
    src = zipped(
        tmp_path / "a.zip", {n.replace("ben/", "N\u00e4vus/"): d for n, d in plain.items()}
    )
    data = src.read_bytes().replace(b"PK\x03\x04\x14\0\0\x08", b"PK\x03\x04\x14\0\0\0")
    data = data.replace(b"PK\x01\x02\x14\x03\x14\0\0\x08", b"PK\x01\x02\x14\x03\x14\0\0\0")
    src.write_bytes(data)
    with zipfile.ZipFile(src) as archive:
        assert not any("\u00e4" in name for name in archive.namelist())
    assert import_source(None, src, tmp_path / "out").info.classes == ("N\u00e4vus", "mal")
