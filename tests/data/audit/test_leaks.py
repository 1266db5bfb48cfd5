"""What crosses the split, or two sets."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from helpers import pictures
from helpers.audits import by_key, copy_of, twin_in_test
from lesionlab.data.audit import audit_dataset
from lesionlab.data.manifest import Dataset, with_table


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
    assert leak.title == "The official test split leaks"
    assert leak.count == 1
    assert leak.remedy.endswith("--official")
    assert "in train" in leak.examples[0].caption
    sound = table[table["image_id"] != "twin"].reset_index(drop=True)
    assert not audit_dataset(with_table(dataset, sound)).fails


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
