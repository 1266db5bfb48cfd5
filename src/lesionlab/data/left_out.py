"""What a source holds and nobody takes: counted by suffix and reason, so that no file vanishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from lesionlab.data.file_kinds import suffix_of
from lesionlab.data.manifest import printable
from lesionlab.errors import counted

FINDER_ICON = "Icon\r"
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
SYSTEM_FOLDERS = {
    "__macosx": "metadata that macOS packs beside the files",
    "@eadir": "thumbnails of a network disk",
    "$recycle.bin": "in a bin",
    "#recycle": "in a bin",
    "system volume information": "a system's own file",
    "__pycache__": "a system's own file",
}


@dataclass(frozen=True)
class LeftOut:
    """`files` files with one suffix ("" = none) that were left out for one reason."""

    suffix: str
    reason: str
    files: int
    first: str

    def to_json(self) -> dict[str, str | int]:
        """A JSON object."""
        return asdict(self)

    @property
    def line(self) -> str:
        """For the screen.

        >>> LeftOut(".txt", "text", 2, "a/notes.txt").line
        '2 .txt files (text), the first is a/notes.txt'
        """
        number = counted(self.files, f"{self.suffix} file".strip())
        without = "" if self.suffix else " without a suffix"
        return f"{number}{without} ({self.reason}), the first is {self.first}"


def why_hidden(name: str) -> str:
    """Why nobody asks for a file with this `/`-separated name; "" where somebody may.

    >>> why_hidden("a/.ipynb_checkpoints/x.jpg"), why_hidden("a/._x.jpg"), why_hidden("a/x.jpg")
    ('in a hidden folder', 'a hidden file', '')
    """
    *folders, last = name.split("/")
    system = next((SYSTEM_FOLDERS[f.lower()] for f in folders if f.lower() in SYSTEM_FOLDERS), "")
    if system or last.lower() in SYSTEM_FILES:
        return system or "a system's own file"
    if any(folder.startswith(".") for folder in folders):
        return "in a hidden folder"
    return "a hidden file" if last.startswith(".") else ""


def grouped(files: Iterable[tuple[str, str]]) -> tuple[LeftOut, ...]:
    """`(name, reason)` of files, counted by suffix and reason in that order.

    >>> [group.files for group in grouped([("a.txt", "text"), ("b.txt", "text")])]
    [2]
    """
    numbers: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for name, reason in files:
        key = (printable(suffix_of(name)), printable(reason))
        numbers[key] += 1
        first.setdefault(key, printable(name))
    return tuple(LeftOut(*key, n, first[key]) for key, n in sorted(numbers.items()))
