from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lesionlab.data.archive import open_tree
from lesionlab.data.sources.base import Found, checked_options
from lesionlab.data.sources.table import SOURCES, recognised

Files = Mapping[str, bytes | str]


def write(root: Path, files: Files) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return root


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., Found]:
    """`find(name, files, **options)`: what the source makes of these files.

    It also holds that `auto` recognises them, and that every image can be read.
    """

    def run(name: str, files: Files, auto: bool = True, **options: Any) -> Found:
        with open_tree(write(tmp_path / "src", files)) as tree:
            if auto:
                assert recognised(tree)[0].name == name
            source = SOURCES[name]
            found = source.find(tree, checked_options(source, options))
            for file in found.rows["file"]:
                assert found.read(file)
        assert set(found.rows["label"]) <= set(found.classes)
        assert set(found.malignant) <= set(found.classes)
        assert found.rows["image_id"].is_unique
        return found

    return run
