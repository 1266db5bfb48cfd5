"""Each set by its documented header, on a few rows; `find` (conftest) also asks `auto`."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from lesionlab.data.sources.base import Found
from lesionlab.data.sources.table import SOURCES
from lesionlab.errors import BadInput

Find = Callable[..., Found]


def picture(seed: int, form: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def by_id(found: Found, column: str) -> dict[str, object]:
    return dict(zip(found.rows["image_id"], found.rows[column], strict=True))


def test_isic2016_has_no_header_and_two_ways_to_write_labels(find: Find) -> None:
    found = find("isic2016", {
        "ISBI2016_ISIC_Part3_Training_GroundTruth.csv": "ISIC_0000000,benign\nISIC_2,malignant\n",
        "ISBI2016_ISIC_Part3_Test_GroundTruth.csv": "ISIC_3,0.0\nISIC_4,1.0\n",
        **{f"d/ISIC_{n}.jpg": picture(n) for n in (2, 3, 4)},
        "d/ISIC_0000000.jpg": picture(0),
    })  # fmt: skip
    assert by_id(found, "label") == {"ISIC_0000000": "benign", "ISIC_2": "malignant",
                                     "ISIC_3": "benign", "ISIC_4": "malignant"}  # fmt: skip
    assert by_id(found, "official_split")["ISIC_4"] == "test"


def test_isic2017_neither_is_a_nevus_and_unknown_is_absent(find: Find) -> None:
    found = find("isic2017", {
        "ISIC-2017_Training_Part3_GroundTruth.csv":
            "image_id,melanoma,seborrheic_keratosis\nISIC_1,0.0,0.0\nISIC_2,1.0,0.0\n",
        "ISIC-2017_Test_v2_Part3_GroundTruth.csv":
            "image_id,melanoma,seborrheic_keratosis\nISIC_3,0,1\n",
        "ISIC-2017_Training_Data_metadata.csv":
            "image_id,age_approximate,sex\nISIC_1,unknown,female\nISIC_2,55,unknown\n",
        **{f"d/ISIC_{n}.jpg": picture(n) for n in (1, 2, 3)},
        "d/ISIC_1_superpixels.png": picture(9, "PNG"),
    })  # fmt: skip
    assert by_id(found, "label") == {"ISIC_1": "nevus", "ISIC_2": "melanoma",
                                     "ISIC_3": "seborrheic_keratosis"}  # fmt: skip
    assert by_id(found, "sex") == {"ISIC_1": "female", "ISIC_2": "", "ISIC_3": ""}
    assert np.isnan(by_id(found, "age")["ISIC_1"])  # type: ignore[call-overload]
    assert not [n for n in found.notes if "superpixels" in n]
    assert not found.rejected


def test_one_hot_rows_must_name_one_class(find: Find) -> None:
    with pytest.raises(BadInput, match=r"row 3 .*'ISIC_2'.* exactly one class"):
        find("isic2017", {
            "ISIC-2017_Training_Part3_GroundTruth.csv":
                "image_id,melanoma,seborrheic_keratosis\nISIC_1,0.0,0.0\nISIC_2,1.0,1.0\n",
            "d/ISIC_1.jpg": picture(1),
        })  # fmt: skip


def test_isic2018_with_lesion_groupings(find: Find) -> None:
    found = find("isic2018", {
        "ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv":
            "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1,1.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
            "ISIC_2,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n",
        "ISIC2018_Task3_Training_LesionGroupings.csv":
            "image,lesion_id,diagnosis_confirm_type\nISIC_1,HAM_1,histopathology\n"
            "ISIC_2,HAM_2,serial imaging\n",
        **{f"ISIC2018_Task3_Training_Input/ISIC_{n}.jpg": picture(n) for n in (1, 2)},
    })  # fmt: skip
    assert by_id(found, "label") == {"ISIC_1": "MEL", "ISIC_2": "NV"}
    assert by_id(found, "lesion_id") == {"ISIC_1": "HAM_1", "ISIC_2": "HAM_2"}
    assert "diagnosis_confirm_type" in SOURCES["isic2018"].forbidden


def test_isic2019_with_downsampled_ids_crlf_and_blanks(find: Find) -> None:
    found = find("isic2019", {
        "ISIC_2019_Training_GroundTruth.csv":
            "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\r\n"
            "ISIC_1_downsampled,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\r\n"
            "ISIC_2,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0\r\n",
        "ISIC_2019_Training_Metadata.csv":
            "image,age_approx,anatom_site_general,lesion_id,sex\r\n"
            "ISIC_1_downsampled,,,,\r\nISIC_2,70.0,head/neck,BCN_1,male\r\n",
        **{f"d/{n}.jpg": picture(k) for k, n in enumerate(("ISIC_1_downsampled", "ISIC_2"))},
    })  # fmt: skip
    assert found.classes == ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
    assert by_id(found, "label")["ISIC_2"] == "SCC"
    assert by_id(found, "site") == {"ISIC_1_downsampled": "", "ISIC_2": "head/neck"}


def test_isic2019_test_truth_with_unknowns(find: Find) -> None:
    found = find("isic2019", {
        "ISIC_2019_Test_GroundTruth.csv":
            "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK,score_weight,validation_weight\n"
            "ISIC_1,0,0,0,0,0,0,0,0,1,1.0,0.0\n",
        "ISIC_2019_Test_Metadata.csv":
            "image,age_approx,anatom_site_general,sex\r\nISIC_1,,lower extremity,female\r\n",
        "d/ISIC_1.jpg": picture(1),
    })  # fmt: skip
    assert found.classes[-1] == "UNK"
    assert by_id(found, "site") == {"ISIC_1": "lower extremity"}


def test_isic2020_unites_the_published_twins(find: Find) -> None:
    header = ("image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
              "benign_malignant,target\n")  # fmt: skip
    rows = "".join(f"ISIC_{n},IP_{n},male,45.0,torso,nevus,benign,0\n" for n in range(4))
    found = find("isic2020", {
        "train.csv": header + rows + "ISIC_9,IP_9,female,,head/neck,melanoma,malignant,1\n",
        "ISIC_2020_Training_Duplicates.csv": "image_name_1,image_name_2\nISIC_1,ISIC_2\n",
        **{f"train/ISIC_{n}.jpg": picture(n) for n in (0, 1, 2, 3, 9)},
    })  # fmt: skip
    assert found.classes == ("benign", "malignant")
    assert by_id(found, "label")["ISIC_9"] == "malignant"
    twins = by_id(found, "twin_group")
    assert twins["ISIC_1"] == twins["ISIC_2"] != ""
    assert twins["ISIC_0"] == ""
    assert {"diagnosis", "benign_malignant"} <= set(SOURCES["isic2020"].forbidden)


def test_isic2020_second_truth_is_preferred_and_targets_are_checked(find: Find) -> None:
    header = "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge," \
             "diagnosis,benign_malignant,target\n"  # fmt: skip
    files = {
        "ISIC_2020_Training_GroundTruth.csv": header.replace("lesion_id,", "")
        + "ISIC_1,IP_1,male,45,torso,nevus,benign,0\n",
        "ISIC_2020_Training_GroundTruth_v2.csv": header
        + "ISIC_1,IP_1,IL_1,male,45,torso,nevus,benign,0\n",
        "d/ISIC_1.jpg": picture(1),
    }
    assert by_id(find("isic2020", files), "lesion_id") == {"ISIC_1": "IL_1"}
    name = "ISIC_2020_Training_GroundTruth_v2.csv"
    with pytest.raises(BadInput, match="target '2' in row 2"):
        find("isic2020", {**files, name: str(files[name]).replace("benign,0", "benign,2")})


HEADER_2024 = "isic_id,target,patient_id,age_approx,sex,anatom_site_general," \
              "clin_size_long_diam_mm,image_type,tbp_tile_type,tbp_lv_A,attribution," \
              "copyright_license,lesion_id,iddx_full,iddx_1,mel_thick_mm," \
              "tbp_lv_dnn_lesion_confidence\n"  # fmt: skip
ROW_2024 = (
    "ISIC_{n},{y},IP_1,60.0,male,torso,3.1,TBP tile: close-up,3D: XP,20.2,MSKCC,CC-BY,,B,B,,97\n"
)


def test_isic2024_from_a_folder(find: Find) -> None:
    found = find("isic2024", {
        "train-metadata.csv": HEADER_2024 + "".join(ROW_2024.format(n=n, y=n) for n in (0, 1)),
        **{f"train-image/image/ISIC_{n}.jpg": picture(n) for n in (0, 1)},
    })  # fmt: skip
    assert by_id(found, "label") == {"ISIC_0": "benign", "ISIC_1": "malignant"}
    known = SOURCES["isic2024"].forbidden
    assert {"iddx_full", "iddx_1", "mel_thick_mm", "tbp_lv_dnn_lesion_confidence"} <= set(known)


def test_isic2024_from_hdf5(find: Find) -> None:
    h5py = pytest.importorskip("h5py")
    stream = io.BytesIO()
    with h5py.File(stream, "w") as stored:
        for n in (0, 1, 7):
            stored[f"ISIC_{n}"] = np.void(picture(n))
    found = find("isic2024", {
        "train-metadata.csv": HEADER_2024 + "".join(ROW_2024.format(n=n, y=n) for n in (0, 1)),
        "train-image.hdf5": stream.getvalue(),
    })  # fmt: skip
    assert found.read("ISIC_0.jpg") == picture(0)
    assert any("1 image of train-image.hdf5" in n for n in found.notes)


def test_a_damaged_hdf5_file_is_one_clear_line(find: Find) -> None:
    pytest.importorskip("h5py")
    with pytest.raises(BadInput, match="not a readable HDF5"):
        find("isic2024", {
            "train-metadata.csv": HEADER_2024 + ROW_2024.format(n=0, y=0),
            "train-image.hdf5": b"garbage",
        })  # fmt: skip


MILK = "AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC"


def test_milk10k_has_two_images_a_lesion(find: Find) -> None:
    one_hot = ["0.0"] * 11
    one_hot[7] = "1.0"
    meta = "lesion_id,image_type,isic_id,attribution,copyright_license,image_manipulation," \
           "age_approx,sex,skin_tone_class,site,MONET_ulceration_crust\n"  # fmt: skip
    rows = "".join(f"IL_1,{t},ISIC_{n},a,CC-BY-NC,x,60,male,3,trunk,0.1\n"
                   for n, t in enumerate(("clinical: close-up", "dermoscopic")))  # fmt: skip
    found = find("milk10k", {
        "MILK10k_Training_GroundTruth.csv": f"lesion_id,{MILK}\nIL_1,{','.join(one_hot)}\n",
        "MILK10k_Training_Metadata.csv": meta + rows,
        **{f"MILK10k_Training_Input/IL_1/ISIC_{n}.jpg": picture(n) for n in (0, 1)},
    })  # fmt: skip
    assert by_id(found, "label") == {"ISIC_0": "MEL", "ISIC_1": "MEL"}
    assert set(found.rows["lesion_id"]) == {"IL_1"}
    assert set(found.malignant) == {"AKIEC", "BCC", "MAL_OTH", "MEL", "SCCKA"}
    assert "skin_type" not in found.rows


def test_isic_archive_takes_the_coarsest_diagnosis(find: Find) -> None:
    header = "isic_id,attribution,copyright_license,age_approx,anatom_site_general," \
             "diagnosis_1,diagnosis_3,fitzpatrick_skin_type,image_type,lesion_id," \
             "patient_id,sex\n"  # fmt: skip
    files = {
        "metadata.csv": header
        + "ISIC_1,a,CC-0,45,torso,Benign,Nevus,II,dermoscopic,IL_1,IP_1,male\n"
        + 'ISIC_2,a,CC-0,,,Malignant,"Melanoma, NOS",,clinical: close-up,IL_2,IP_2,female\n'
        + "ISIC_3,a,CC-0,,,,,,dermoscopic,,,\n",
        **{f"ISIC_{n}.jpg": picture(n) for n in (1, 2, 3)},
    }
    found = find("isic-archive", files)
    assert (found.classes, found.malignant) == (("Benign", "Malignant"), ("Malignant",))
    assert any("1 image without diagnosis_1" in n for n in found.notes)
    assert found.modality == "mixed"
    assert by_id(found, "skin_type")["ISIC_1"] == "II"
    finer = find("isic-archive", files, label_column="diagnosis_3")
    assert finer.classes == ("Melanoma, NOS", "Nevus")
    with pytest.raises(BadInput, match="'diagnosis_9' is missing"):
        find("isic-archive", files, label_column="diagnosis_9")


def test_bcn20000_keeps_its_split(find: Find) -> None:
    header = (
        "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split\n"
    )
    rows = "BCN_1.jpg,55.0,anterior torso,MEL,BCN_L1,2012-05-16,male,train\n" \
           "BCN_2.jpg,,,NV,BCN_L2,2013-01-01,,test\n"  # fmt: skip
    found = find("bcn20000", {
        "bcn_20k_train.csv": header + rows,
        **{f"BCN_20k_train/BCN_{n}.jpg": picture(n) for n in (1, 2)},
    })  # fmt: skip
    assert by_id(found, "official_split") == {"BCN_1": "train", "BCN_2": "test"}
    assert found.malignant == ("MEL",)


PH2_TEXT = """|| Name  || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Pigment Network | Dots/Globules | Streaks | Regression Areas | Blue-Whitish Veil ||  Colors    ||
|| IMD003 ||                        ||         0          ||     0     |        T        |       A       |    A    |        A         |         A         ||   4        ||
|| IMD420 || Melanoma (in situ)     ||         2          ||     2     |       AT        |      AT       |    P    |        A         |         A         ||   3  4  6  ||
Legends:
"""  # noqa: E501


def test_ph2_with_masks(find: Find) -> None:
    files = {"PH2_dataset.txt": PH2_TEXT}
    for n, name in enumerate(("IMD003", "IMD420")):
        root = f"PH2 Dataset images/{name}"
        files[f"{root}/{name}_Dermoscopic_Image/{name}.bmp"] = picture(n, "BMP")  # type: ignore[assignment]
        files[f"{root}/{name}_lesion/{name}_lesion.bmp"] = picture(n + 5, "BMP")  # type: ignore[assignment]
        files[f"{root}/{name}_roi/{name}_R1_Label3.bmp"] = picture(n + 9, "BMP")  # type: ignore[assignment]
    found = find("ph2", files)
    assert by_id(found, "label") == {"IMD003": "common nevus", "IMD420": "melanoma"}
    assert by_id(found, "mask_file")["IMD003"].endswith("IMD003_lesion.bmp")  # type: ignore[attr-defined]
    assert by_id(found, "streaks") == {"IMD003": "A", "IMD420": "P"}
    assert found.notes == ()
    with pytest.raises(BadInput, match="diagnosis '7' of IMD003"):
        find("ph2", {"PH2_dataset.txt": PH2_TEXT.replace("0          ||     0", "7 || 0")})


PAD = "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide," \
      "gender,skin_cancer_history,cancer_history,has_piped_water,has_sewage_system,fitspatrick," \
      "region,diameter_1,diameter_2,diagnostic,itch,grew,hurt,changed,bleed,elevation,img_id," \
      "biopsed\n"  # fmt: skip


def test_pad_ufes_20(find: Find) -> None:
    row = "PAT_{p},{p}1,False,False,BRAZIL,BRAZIL,55,False,{g},True,True,True,True,{f},NECK," \
          "6.0,5.0,{d},True,False,False,False,False,True,PAT_{p}_{p}1.png,True\n"  # fmt: skip
    found = find("pad-ufes-20", {
        "metadata.csv": PAD + row.format(p=1, g="FEMALE", f="3.0", d="NEV")
                            + row.format(p=2, g="", f="", d="BCC"),
        **{f"images/imgs_part_1/PAT_{p}_{p}1.png": picture(p, "PNG") for p in (1, 2)},
    })  # fmt: skip
    assert by_id(found, "label") == {"PAT_1_11": "NEV", "PAT_2_21": "BCC"}
    assert by_id(found, "sex") == {"PAT_1_11": "female", "PAT_2_21": ""}
    assert by_id(found, "skin_type") == {"PAT_1_11": "III", "PAT_2_21": ""}
    assert "biopsed" in SOURCES["pad-ufes-20"].forbidden


CBIS = "patient_id,breast_density,left or right breast,image view,abnormality id," \
       "abnormality type,mass shape,mass margins,assessment,pathology,subtlety,image file path," \
       "cropped image file path,ROI mask file path\n"  # fmt: skip


def grey(size: tuple[int, int], box: tuple[int, int, int, int] | None = None) -> bytes:
    pixels = np.zeros((size[1], size[0]), np.uint8)
    if box:
        pixels[box[1] : box[3], box[0] : box[2]] = 255
    else:
        pixels += 90
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def cbis_files() -> dict[str, bytes | str]:
    """Two cases; in the second the crop and the mask are swapped, and a path holds a newline."""
    rows = (
        "P_1,3,LEFT,CC,1,mass,IRREGULAR,SPICULATED,4,MALIGNANT,4,M_P_1/1/a/000000.dcm,"
        '"M_P_1_1/1/b/000000.dcm\n",M_P_1_1/1/b/000001.dcm\n'
        "P_2,3,RIGHT,MLO,1,mass,OVAL,,2,BENIGN_WITHOUT_CALLBACK,4,M_P_2/1/a/000000.dcm,"
        "M_P_2_1/1/b/000000.dcm,M_P_2_1/1/b/000001.dcm\n"
    )
    film, mask, crop = grey((64, 96)), grey((64, 96), (20, 40, 30, 60)), grey((10, 20))
    return {
        "csv/mass_case_description_train_set.csv": CBIS + rows,
        "png/M_P_1/1/a/000000.png": film,
        "png/M_P_1_1/1/b/000000.png": crop,
        "png/M_P_1_1/1/b/000001.png": mask,
        "png/M_P_2/1/a/000000.png": film,
        "png/M_P_2_1/1/b/000000.png": mask,
        "png/M_P_2_1/1/b/000001.png": crop,
    }


def test_cbis_ddsm_crops_even_where_crop_and_mask_are_swapped(find: Find) -> None:
    found = find("cbis-ddsm", cbis_files())
    assert list(found.rows["label"]) == ["malignant", "benign"]
    assert list(found.rows["official_split"]) == ["train", "train"]
    sizes = [Image.open(io.BytesIO(found.read(f))).size for f in found.rows["file"]]
    assert sizes == [(10, 20), (10, 20)]


def test_cbis_ddsm_films_with_the_region_of_the_mask(find: Find) -> None:
    found = find("cbis-ddsm", cbis_files(), view="film")
    assert [tuple(r) for r in found.rows[["roi_x", "roi_y", "roi_size"]].to_numpy()] == [
        (25.0, 50.0, 20), (25.0, 50.0, 20)]  # fmt: skip


def test_cbis_ddsm_names_the_missing_film(find: Find) -> None:
    files = cbis_files()
    del files["png/M_P_2/1/a/000000.png"]
    (rejected,) = find("cbis-ddsm", files, view="film").rejected
    assert rejected.path == "mass_P_2_RIGHT_MLO_1"
    assert "film is missing" in rejected.reason


def test_cbis_ddsm_calcifications_spell_density_with_a_space(find: Find) -> None:
    files = cbis_files()
    text = str(files.pop("csv/mass_case_description_train_set.csv"))
    text = text.replace("breast_density", "breast density").replace("mass shape", "calc type")
    text = text.replace("mass margins", "calc distribution")
    found = find("cbis-ddsm", {**files, "csv/calc_case_description_test_set.csv": text})
    assert "breast_density" in found.rows
    assert set(found.rows["official_split"]) == {"test"}


HAM_ROWS = "lesion_id{0}image_id{0}dx{0}dx_type{0}age{0}sex{0}localization\n" + "".join(
    f'"HAM_{n}"{{0}}"ISIC_{n}"{{0}}"{d}"{{0}}"histo"{{0}}40.0{{0}}"male"{{0}}"back"\n'
    for n, d in enumerate(("nv", "mel"))
)
TEST_2018 = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_7,1.0,0.0,0.0,0.0,0.0,0.0,0.0\n"


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.tab"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_ham10000_as_dataverse_gives_it(find: Find, name: str, separator: str) -> None:
    found = find("ham10000", {
        name: HAM_ROWS.format(separator),
        "HAM10000_images_part_1/ISIC_0.jpg": picture(0),
        "HAM10000_images_part_2/ISIC_1.jpg": picture(1),
        "segmentations/ISIC_0_segmentation.png": picture(2, "PNG"),
        "ISIC2018_Task3_Test_GroundTruth.csv": TEST_2018,
        "ISIC2018_Task3_Test_Images/ISIC_7.jpg": picture(7),
    })  # fmt: skip
    assert list(found.rows["label"]) == ["nv", "mel"]
    assert any("1 image is not named" in n and "Test_Images/ISIC_7.jpg" in n for n in found.notes)


def test_two_whole_sets_are_still_not_mixed(find: Find) -> None:
    with pytest.raises(BadInput, match="several data sets: ham10000 and isic2018"):
        find("ham10000", {
            "HAM10000_metadata.csv": HAM_ROWS.format(","),
            "ISIC2018_Task3_Training_GroundTruth.csv": TEST_2018,
        })  # fmt: skip
