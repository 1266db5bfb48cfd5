from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab.api import audit as verb
from lesionlab.data.audit import DROPPABLE, LOOKED_FOR, Audit, Finding, audit_dataset
from lesionlab.data.audit.artefacts import INDICES, artefact_indices
from lesionlab.data.audit.columns import POST_DIAGNOSIS
from lesionlab.data.audit.inventory import grids
from lesionlab.data.audit.shortcuts import _auc, encoded, measured
from lesionlab.data.importing import import_source
from lesionlab.data.manifest import Dataset, read_dataset, with_table, write_dataset
from lesionlab.data.sources import ham10000
from lesionlab.errors import BadInput

spec = importlib.util.spec_from_file_location("pictures", Path(__file__).with_name("pictures.py"))
assert spec is not None
assert spec.loader is not None
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A data set without fault: 48 lesions, 64 images, split by lesion."""
    return pictures.write_set(tmp_path_factory.mktemp("clean") / "set")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def clean_audit(clean: Dataset) -> Audit:
    """With the shortcuts measured: a fixture of the module is made before `_no_forest`."""
    return audit_dataset(clean)


@pytest.fixture
def forest() -> None:
    """Asked for by the tests that want the shortcuts measured."""


@pytest.fixture(autouse=True)
def _no_forest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortcuts take seconds and have tests of their own."""
    if "forest" not in request.fixturenames:
        monkeypatch.setattr("lesionlab.data.audit.shortcuts.SHORTCUTS", ())
        monkeypatch.setattr("lesionlab.data.audit.check_shortcuts", lambda *_: ())


def by_key(audit: Audit) -> dict[str, Finding]:
    return {f.key: f for f in audit.findings}


def test_a_clean_set_reports_no_fault(clean_audit: Audit) -> None:
    assert not clean_audit.fails
    assert {f.key for f in clean_audit.findings if f.severity in ("error", "warning")} == set()
    assert set(by_key(clean_audit)) == {"gaps", "artefacts", "shortcuts"}  # always told
    assert by_key(clean_audit)["shortcuts"].count == 0
    assert not set(by_key(clean_audit)) & set(LOOKED_FOR)


# Each fault changes the rows and files of a copy of the clean set; then this key is found.
Row = dict[str, object]


def twin_in_test(folder: Path, table: pd.DataFrame, how: str) -> pd.DataFrame:
    """A copy of a training image, under another patient and lesion, in the test part."""
    row = dict(table[table["split"] == "train"].iloc[3])
    image = Image.open(folder / str(row["path"])).convert("RGB")
    changed = {
        "bytes": lambda: (folder / str(row["path"])).read_bytes(),
        "pixels": lambda: pictures.encoded(image),
        "near": lambda: pictures.encoded(pictures.turned(image, 5), "JPEG", quality=50),
    }[how]()
    row |= {"image_id": "twin", "patient_id": "P-other", "lesion_id": "L-other", "split": "test"}
    pictures.add_file(folder, row, changed)
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)


def with_cell(column: str, value: object, row: int = 5) -> Callable[..., pd.DataFrame]:
    def fault(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return fault


def new_bytes(data: Callable[[bytes], bytes]) -> Callable[..., pd.DataFrame]:
    def fault(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
        path = folder / str(table.loc[5, "path"])
        path.write_bytes(data(path.read_bytes()))
        return table

    return fault


def picture_in_row(image: Image.Image) -> Callable[..., pd.DataFrame]:
    def fault(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
        row = dict(table.loc[5])
        pictures.add_file(folder, row, pictures.encoded(image))
        table.loc[5] = row
        return table

    return fault


def conflicting_twin(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    table = twin_in_test(folder, table, "near")
    table.loc[len(table) - 1, "split"] = "train"
    first = table[table["split"] == "train"].iloc[3]["label"]
    table.loc[len(table) - 1, "label"] = {"nevus": "melanoma", "melanoma": "nevus"}[first]
    return table


def extra_file(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    (folder / "images" / "stray.png").write_bytes(pictures.encoded(pictures.skin(777)))
    return table


def missing_file(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    (folder / str(table.loc[5, "path"])).unlink()
    return table


def same_patient(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    tests = table.index[table["split"] == "test"]
    table.loc[tests, "patient_id"] = table["patient_id"][table["split"] == "train"].iloc[0]
    table.loc[tests, "sex"] = table["sex"][table["split"] == "train"].iloc[0]
    return table


def same_lesion(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    row = table[table["split"] == "train"].iloc[0]
    tests = table.index[table["split"] == "test"][:1]
    table["patient_id"] = ""
    table.loc[tests, ["lesion_id", "label"]] = [row["lesion_id"], row["label"]]
    return table


def small_class(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    keep = (table["label"] == "nevus") | (table["label"] == "melanoma").cumsum().lt(4)
    return table[keep].reset_index(drop=True)


FAULTS: dict[str, tuple[str, bool, Callable[..., pd.DataFrame]]] = {
    # name: (key that must be found, whether --strict fails, the fault)
    "the same file twice": ("duplicates_bytes", True, lambda f, t: twin_in_test(f, t, "bytes")),
    "the same pixels": ("duplicates_pixels", True, lambda f, t: twin_in_test(f, t, "pixels")),
    "a turned, re-encoded twin": ("duplicates_near", True, lambda f, t: twin_in_test(f, t, "near")),
    "a twin in the test part": ("leak_test", True, lambda f, t: twin_in_test(f, t, "near")),
    "a picture with two labels": ("label_conflict_image", True, conflicting_twin),
    "a lesion with two labels": ("label_conflict_lesion", True, lambda f, t: _relabel(t)),
    "a patient of two sexes": ("sex_conflict_patient", False, lambda f, t: _resex(t)),
    "a patient on both sides": ("leak_test", True, same_patient),
    "a lesion on both sides": ("leak_test", True, same_lesion),
    "half a JPEG": ("unreadable", False, new_bytes(lambda b: b[: len(b) // 2])),
    "an empty file": ("unreadable", False, new_bytes(lambda b: b"")),
    "a text named .jpg": ("unreadable", False, new_bytes(lambda b: b"no image")),
    "a missing file": ("unreadable", False, missing_file),
    "another file under the name": (
        "changed",
        False,
        new_bytes(lambda b: pictures.encoded(pictures.skin(888), "JPEG")),
    ),
    "a blank image": ("blank", False, picture_in_row(Image.new("RGB", (160, 120), (90, 90, 90)))),
    "a tiny image": ("tiny", False, picture_in_row(pictures.skin(5, 40, 30))),
    "a stray file": ("orphans", False, extra_file),
    "an index column": ("index_column", False, lambda f, t: t.assign(Unnamed=range(len(t)))),
    "a suffix in an id": ("suffixed_ids", False, with_cell("image_id", "I-x.jpg")),
    "a column that holds the answer": (
        "post_diagnosis",
        False,
        lambda f, t: t.assign(dx_type=np.where(t["label"] == "nevus", "follow_up", "histo")),
    ),
    "a class of three": ("small_classes", False, small_class),
}


def _relabel(table: pd.DataFrame) -> pd.DataFrame:
    other = {"nevus": "melanoma", "melanoma": "nevus"}[table.loc[0, "label"]]
    table.loc[0, "label"] = other
    return table


def _resex(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[0, "sex"] = "male" if table.loc[0, "sex"] == "female" else "female"
    return table


def copy_of(clean: Dataset, folder: Path) -> Dataset:
    import shutil

    shutil.copytree(clean.folder, folder)
    return read_dataset(folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, clean: Dataset, tmp_path: Path) -> None:
    key, fails, plant = FAULTS[fault]
    dataset = copy_of(clean, tmp_path / "set")
    dataset = with_table(dataset, plant(dataset.folder, dataset.table.copy()))
    write_dataset(dataset)
    audit = audit_dataset(read_dataset(dataset.folder))
    found = by_key(audit)
    assert key in found
    assert audit.fails == fails
    assert found[key].why or key in ("changed",)
    assert found[key].count
    assert {f.key for f in audit.findings if f.drop} <= set(DROPPABLE)
    assert json.loads(json.dumps(audit.to_json(), allow_nan=False))["findings"]


def test_a_leak_is_counted_by_class_and_by_cause(clean: Dataset, tmp_path: Path) -> None:
    dataset = copy_of(clean, tmp_path / "set")
    dataset = with_table(dataset, twin_in_test(dataset.folder, dataset.table.copy(), "near"))
    leak = by_key(audit_dataset(dataset))["leak_test"]
    assert leak.data["affected"] == {"patient": 0, "lesion": 0, "duplicate": 1, "any": 1}
    images = int((dataset.table["split"] == "test").sum())
    assert leak.data["images"] == images
    assert leak.data["share"] == pytest.approx(1 / images)
    label = dataset.table["label"].iloc[-1]
    assert {c for c, share in leak.data["by_class"].items() if share} == {label}
    assert leak.examples[0].images[0] == "twin"


def test_an_official_split_that_leaks_is_told_before_it_is_taken(
    clean: Dataset, tmp_path: Path
) -> None:
    dataset = copy_of(clean, tmp_path / "set")
    table = twin_in_test(dataset.folder, dataset.table.copy(), "near")
    table = table.assign(official_split=table["split"], split="")
    leak = by_key(audit_dataset(with_table(dataset, table)))["leak_test"]
    assert leak.title == "The official test part leaks"
    assert leak.count == 1
    assert leak.remedy.endswith("--official")
    assert "in train" in leak.examples[0].caption
    sound = table[table["image_id"] != "twin"].reset_index(drop=True)
    assert not audit_dataset(with_table(dataset, sound)).fails


def test_only_rows_that_a_finding_names_are_removed(clean: Dataset, tmp_path: Path) -> None:
    dataset = copy_of(clean, tmp_path / "set")
    dataset = with_table(dataset, twin_in_test(dataset.folder, dataset.table.copy(), "bytes"))
    write_dataset(dataset)
    assert set(DROPPABLE) >= {f.key for f in audit_dataset(dataset).findings if f.drop}
    with pytest.raises(BadInput, match="did you mean 'duplicates_bytes'"):
        verb.audit(dataset.folder, drop="duplicate_bytes")
    with pytest.raises(BadInput, match="'blank' was not found here"):
        verb.audit(dataset.folder, drop="blank")
    told = verb.audit(dataset.folder, drop="duplicates_bytes", out=tmp_path / "out")
    assert told["dropped"] == 1
    assert (tmp_path / "out" / "audit.html").is_file()
    left = read_dataset(dataset.folder)
    assert len(left.table) == len(dataset.table) - 1
    assert left.info.counts["rejected"][-1]["reason"] == "removed by audit: duplicates_bytes"
    assert "leak_test" not in by_key(audit_dataset(left))


def test_lesions_numbered_within_patients_are_no_leak(clean: Dataset) -> None:
    """ "1" and "2" in every patient's rows are not one lesion each."""
    table = clean.table.assign(lesion_id="1")
    audit = audit_dataset(with_table(clean, table))
    assert not {"leak_test", "label_conflict_lesion"} & set(by_key(audit))


def test_a_set_without_groups_says_so(clean: Dataset) -> None:
    gaps = by_key(audit_dataset(with_table(clean, clean.table.assign(patient_id="", lesion_id=""))))
    assert gaps["gaps"].severity == "warning"
    assert "Neither patients nor lesions" in gaps["gaps"].text


def test_the_mark_of_a_leaky_set_is_repeated(clean: Dataset) -> None:
    dataset = with_table(clean, clean.table, leaky=True, leak_reason="split by image")
    audit = audit_dataset(dataset)
    assert audit.fails
    assert "split by image" in by_key(audit)["marked_leaky"].text


def test_two_sets_that_share_pictures(clean: Dataset, tmp_path: Path) -> None:
    other = pictures.write_set(tmp_path / "other", lesions=10, seed=9, name="other set")
    rows = []
    for name, how in (("s1", "bytes"), ("s2", "near")):
        planted = twin_in_test(copy_of(clean, tmp_path / name).folder, clean.table.copy(), how)
        row = dict(planted.iloc[-1]) | {"image_id": name}
        pictures.add_file(other.folder, row, (tmp_path / name / str(row["path"])).read_bytes())
        rows.append(row)
    shared = pd.DataFrame(rows)
    shared["label"] = shared["label"].map({"nevus": "melanoma", "melanoma": "nevus"})
    other = with_table(other, pd.concat([other.table, shared], ignore_index=True))
    audit = audit_dataset(clean, other)
    across = by_key(audit)["across"]
    assert audit.fails
    assert across.data["shared"]["any"] == 1
    assert across.data["shared"]["bytes"] == 1
    assert across.drop == (clean.table[clean.table["split"] == "train"].iloc[3]["image_id"],)
    assert by_key(audit)["across_labels"].count >= 1
    assert all(e.others for e in across.examples)
    assert by_key(audit_dataset(other, clean))["across"].data["shared"]["any"] == 2


def test_two_sets_that_share_nothing_or_only_an_id(clean: Dataset, tmp_path: Path) -> None:
    other = pictures.write_set(tmp_path / "other", lesions=6, seed=9, name="other set")
    apart = audit_dataset(clean, other)
    assert not apart.fails
    assert by_key(apart)["across"].severity == "good"
    one, two = clean.table.copy(), other.table.copy()
    one.loc[3, "image_id"], two.loc[2, "image_id"] = "ISIC_0012345", "ISIC_0012345_downsampled"
    met = by_key(audit_dataset(with_table(clean, one), with_table(other, two)))["across"]
    assert met.data["shared"]["image id"] == 1
    assert met.data["shared"]["any"] == 1


def test_ids_of_published_sets_mean_the_same_in_another_set(clean: Dataset, tmp_path: Path) -> None:
    other = pictures.write_set(tmp_path / "other", lesions=6, seed=9, name="other set")
    one, two = clean.table.copy(), other.table.copy()
    one.loc[3, "lesion_id"] = two.loc[2, "lesion_id"] = "HAM_0000118"
    shared = by_key(audit_dataset(with_table(clean, one), with_table(other, two)))["across"]
    assert {k: n for k, n in shared.data["shared"].items() if n} == {"lesion": 1, "any": 1}
    copies = [with_table(d, d.table, source="ph2") for d in (clean, other)]
    shared = by_key(audit_dataset(*copies))["across"]
    assert shared.data["shared"]["patient"] == int(
        clean.table["patient_id"].isin(two["patient_id"]).sum()
    )


def test_counts_that_are_not_the_published_ones(clean: Dataset) -> None:
    names = {"nevus": "nv", "melanoma": "mel"}
    table = clean.table.assign(label=clean.table["label"].map(names), source="ham10000")
    dataset = with_table(clean, table, source="ham10000", classes=ham10000.CLASSES)
    counts = by_key(audit_dataset(dataset))["published_counts"]
    assert "10015" in counts.grids[0].rows[0][0]
    chosen = with_table(dataset, table, counts={"expected": {}})  # only a part was asked for
    assert "published_counts" not in by_key(audit_dataset(chosen))


def test_the_inventory_counts_everything(clean: Dataset, clean_audit: Audit) -> None:
    stock = clean_audit.inventory
    assert stock["images"] == len(clean.table) == 64
    assert stock["lesions"] == stock["patients"] == stock["groups"] == 48
    assert sum(c["images"] for c in stock["classes"].values()) == 64
    for words in stock["by"].values():
        assert sum(n for counts in words.values() for n in counts.values()) == 64
    assert list(stock["by"]["split"]) == ["train", "valid", "test"]
    assert stock["sizes"] == {"160 x 120": 64}
    assert sum(stock["aspects"].values()) == 64
    titles = [g.caption for g in grids(stock)]
    assert titles[0] == "Classes"
    assert "By split" in titles
    assert "By skin type" not in titles


def ham_like(folder: Path, change: Callable[[str], bytes]) -> Path:
    """A source as HAM10000 is laid out, its table spoilt by `change`."""
    (folder / "HAM10000_images_part_1").mkdir(parents=True)
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for n in range(24):
        name = f"ISIC_{n:07d}"
        data = pictures.encoded(pictures.skin(n), "JPEG")
        (folder / "HAM10000_images_part_1" / f"{name}.jpg").write_bytes(data)
        lines.append(f"HAM_{n:07d},{name},{('nv', 'mel')[n % 2]},histo,50.0,male,b\u00e4ck")
    (folder / "HAM10000_metadata.csv").write_bytes(change("\n".join(lines) + "\n"))
    return folder


SPOILT: dict[str, tuple[Callable[[str], bytes], str]] = {
    "oversampled": (lambda t: (t + t.split("\n", 1)[1]).encode(), "oversampled"),
    "an index column": (
        lambda t: "\n".join(
            f"{'' if k == 0 else k - 1},{line}" for k, line in enumerate(t.split("\n")) if line
        ).encode(),
        "row numbers",
    ),
    "suffixes": (
        lambda t: t.replace(",nv", ".jpg,nv").replace(",mel", ".jpg,mel").encode(),
        ".jpg",
    ),
    "semicolons": (lambda t: t.replace(",", ";").encode(), "';'"),
    "BOM": (lambda t: b"\xef\xbb\xbf" + t.encode(), "byte order mark"),
    "Latin-1": (lambda t: t.encode("latin-1"), "Latin-1"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_what_import_saw_is_in_the_audit(fault: str, tmp_path: Path) -> None:
    change, words = SPOILT[fault]
    source = ham_like(tmp_path / "source", change)
    dataset = import_source(ham10000.SOURCE, source, tmp_path / "set")
    notes = by_key(audit_dataset(dataset))["import_notes"].grids[0].rows
    assert any(words in note for (note,) in notes), notes


def test_half_a_jpeg_in_the_source_is_in_the_audit(tmp_path: Path) -> None:
    source = ham_like(tmp_path / "source", lambda t: t.encode())
    path = source / "HAM10000_images_part_1" / "ISIC_0000003.jpg"
    path.write_bytes(path.read_bytes()[:1500])
    dataset = import_source(ham10000.SOURCE, source, tmp_path / "set")
    audit = audit_dataset(dataset)
    assert "ISIC_0000003" in by_key(audit)["rejected"].grids[0].rows[0][0]
    notes = [n for (n,) in by_key(audit)["import_notes"].grids[0].rows]
    assert not any(words in n for _, words in SPOILT.values() for n in notes)


def test_artefact_indices_rank_what_they_are_named_for() -> None:
    plain = np.asarray(pictures.skin(3, 256, 256)).copy()
    y, x = np.indices((256, 256))
    corners, hair, ink, ruler = (plain.copy() for _ in range(4))
    corners[np.hypot(y - 128, x - 128) > 140] = 5
    for k in range(6):
        hair[(np.abs(y - 0.3 * x - 40 * k + 20) < 1.5)] = 40
    ink[225:] = (70, 60, 190)
    ruler[236:, ::16] = 20
    ruler[236:, 1::16] = 20
    base = artefact_indices(Image.fromarray(plain))
    for name, picture in zip(INDICES, (corners, hair, ink, ruler), strict=True):
        each = artefact_indices(Image.fromarray(picture))
        assert all(0 <= v <= 1 for v in each.values())
        assert each[name] > base[name] + 0.02, name
    assert set(base) == set(INDICES)


def test_a_shortcut_is_told_from_noise() -> None:
    draw = np.random.default_rng(0)
    labels = draw.choice(["a", "b", "c"], 300)
    groups = np.arange(300) // 2
    labels = labels[groups]
    noise = pd.DataFrame({"x": draw.normal(size=300)})
    telling = pd.DataFrame({"word": np.where(labels == "a", "yes", "no").astype(object)})
    nothing = measured(noise, labels, groups, ("a", "b", "c"))
    something = measured(telling, labels, groups, ("a", "b", "c"))
    assert nothing["low"] < 0.5 < nothing["high"]
    assert something["low"] > 0.6
    assert something["by_class"]["a"] > 0.95
    alike = measured(pd.DataFrame({"x": np.ones(300)}), labels, groups, ("a", "b", "c"))
    assert (alike["value"], alike["method"]) == (0.5, "all images alike")


def test_shortcuts_are_in_the_findings(clean: Dataset, forest: None) -> None:
    table = clean.table.copy()
    table["source"] = np.where(table["label"] == "nevus", "clinic", "archive")
    shortcuts = by_key(audit_dataset(with_table(clean, table)))["shortcuts"]
    assert shortcuts.severity == "warning"
    assert "source" in shortcuts.text
    values = {s["name"]: s for s in shortcuts.data["shortcuts"]}
    assert values["source"]["value"] == 1.0
    assert values["image size"]["value"] == 0.5
    few = clean.table[:12].reset_index(drop=True)
    little = by_key(audit_dataset(with_table(clean, few)))["shortcuts"]
    assert "too few to say" in little.title


def test_the_bootstrap_auc_is_the_usual_one() -> None:
    from sklearn.metrics import roc_auc_score

    draw = np.random.default_rng(1)
    score = np.round(draw.normal(size=80), 1)
    positive = draw.random(80) < 0.4
    weights = np.stack([np.ones(80), draw.integers(0, 3, 80)]).astype(np.float32)
    areas = _auc(positive, score, weights)
    for row in range(2):
        assert areas[row] == pytest.approx(
            roc_auc_score(positive, score, sample_weight=weights[row])
        )


def test_encoding_words_and_gaps() -> None:
    frame = pd.DataFrame({"age": [30.0, np.nan, 50.0], "sex": np.array(["f", "", "f"], object)})
    assert encoded(frame).tolist() == [[30, 0, 1, 0], [40, 1, 0, 1], [50, 0, 1, 0]]


def test_the_forbidden_columns_of_the_facts_are_recognised() -> None:
    from lesionlab.data.audit.columns import _matches

    known = ("dx_type", "diagnosis_confirm_type", "concomitant_biopsy", "melanocytic", "iddx_full",
             "mel_thick_mm", "diagnosis_2", "attribution", "pathology")  # fmt: skip
    assert all(_matches(column) for column in known)
    assert not any(_matches(c) for c in ("age", "fitzpatrick", "clin_size_long_diam_mm", "region"))
    assert len(POST_DIAGNOSIS) == len(set(POST_DIAGNOSIS))
