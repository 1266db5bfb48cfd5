"""`lesionlab.explain`: what a run's network looks at, and whether the picture can be believed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lesionlab import extras, files
from lesionlab.data import ledger
from lesionlab.data.archive import open_tree
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress

SCHEMA_VERSION = 1
PICTURES = "explanations"  # the folder of overlays, and the stem of the numbers' file


def explain(
    run: Path | str,
    *,
    split: str = "valid",
    methods: Sequence[str] = (),
    masks: Path | str | None = None,
    limit: int = 200,
    checks: int = 32,
    draws: int = 3,
    projection: str = "tsne",
    data: Path | str | None = None,
    out: Path | str | None = None,
    lang: str = "en",
    seed: int = 0,
    threads: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write `explanations-<part>.html`, its numbers as JSON, and overlays, beside the report.

    Maps of `limit` images by each of `methods` (default: all that apply to the network) are
    measured against the lesion masks; the dear checks use `checks` of them, and the
    randomisation check shuffles the weights, and permutes the labels, `draws` times. `masks` is
    a folder or archive of masks named by image id; without it, those that were imported are used.
    `projection` of the embedding is tsne, or umap where umap-learn is installed. `split="test"`
    opens the sealed test set, which is written to the ledger before anything is shown. `data`
    says where the data set has moved; `threads` is 0 for all of the machine's.

    Returns the content of `explanations-<part>.json` with `page`, its path. Raises `BadInput`
    for an unfinished run, changed data, a method that does not apply, and masks that fit no image.
    """
    from lesionlab.api._inputs import of_run
    from lesionlab.reporting.explanations import write_page
    from lesionlab.reporting.explanations_cards import overlays
    from lesionlab.reporting.explanations_link import link_report, page_name
    from lesionlab.reporting.explanations_page import page_content
    from lesionlab.reporting.language import language

    extras.need_torch("explain")
    from lesionlab.explanation.session import ExplainOptions, open_session
    from lesionlab.explanation.summary import explained

    language(lang)
    _check(limit, checks, draws, projection)
    folder = Path(run)
    subject = of_run(folder, split, None if data is None else Path(data), out, progress)
    if subject.dataset is None or subject.run is None:
        raise BadInput(
            "the dataset folder of the run was not found",
            where=str(folder),
            remedy="give it with --data DIR",
        )
    options = ExplainOptions(tuple(methods), limit, checks, draws, projection, seed, threads)
    with contextlib.nullcontext() if masks is None else open_tree(Path(masks)) as tree:
        session = open_session(
            *(subject.run, subject.dataset, subject.predictions, subject.prior),
            *(options, tree, progress),
        )
        found = explained(session)
        numbers = {"schema_version": SCHEMA_VERSION, **found.to_json(subject.title, subject.part)}
        openings = _open(subject, numbers)  # before anything is written or shown
        content = page_content(found, numbers, openings, lang)
        _write(subject, found.tables(subject.part), overlays(found), numbers)
    page = subject.out / page_name(subject.part)
    write_page(page, content, lang)
    linked = link_report(subject.out / "report.html", subject.part, lang)
    return {**numbers, "page": str(page), "linked": linked}


def _write(
    subject: Any, tables: dict[str, str], pictures: dict[str, bytes], numbers: dict[str, Any]
) -> None:
    """The overlays, the tables and the numbers."""
    subject.out.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        path = subject.out / PICTURES / subject.part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, picture)
    for name, text in tables.items():
        files.write_text(subject.out / name, text)
    files.write_json(subject.out / f"{PICTURES}-{subject.part}.json", numbers)


def _check(limit: int, checks: int, draws: int, projection: str) -> None:
    if limit < 1 or checks < 1:
        raise BadInput("at least one image is needed", where="--limit, --checks")
    if draws < 1:
        raise BadInput("at least one draw is needed", where="--draws")
    if projection not in ("tsne", "umap"):
        raise BadInput(f"no projection '{projection}'", remedy="known: tsne, umap")
    if projection == "umap":
        extras.need_package("umap", "umap-learn", "UMAP", "--projection")


def _open(subject: Any, numbers: dict[str, Any]) -> int:
    """How often test was opened; this time among them where test is what is explained."""
    folder = subject.dataset.folder
    if subject.part == "test":
        runs = (subject.run.folder,)
        return len(ledger.record_test_access(folder, subject.title, numbers, runs))
    return len(ledger.openings(folder))
