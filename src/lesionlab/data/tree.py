"""A uniform view of a folder or an archive: names, bytes, and what each file is."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lesionlab.data import tables, workbook
from lesionlab.data.file_kinds import SUFFIXES, FileKind, kind_of, stem_of
from lesionlab.errors import BadInput

MOST_OF_A_TABLE = 64 << 20  # bytes of a file without suffix that may be a table
MOST_OF_A_JSON = 512 << 20  # bytes of a JSON file that is looked into


@dataclass(frozen=True)
class Entry:
    """One file of a tree: its true size in bytes, how to read it, and a checksum if known."""

    size: int
    read: Callable[[], bytes]
    head: Callable[[], bytes]  # its first bytes, as many as `file_kinds.HEAD`
    checksum: int | None = None
    path: Path | None = None  # where it lies, for a file of a folder


@dataclass(frozen=True)
class Tree:
    """A uniform view of a folder or an archive: `/`-separated names in order, and their bytes."""

    origin: str
    entries: Mapping[str, Entry]
    empty: tuple[str, ...] = ()  # folders without any file
    hidden: tuple[tuple[str, str], ...] = ()  # (name, reason) of files that nobody asks for
    was_read: set[str] = field(default_factory=set, compare=False)  # names that `read` gave out
    kinds: dict[str, FileKind] = field(default_factory=dict, compare=False)  # those looked at

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted by code points (the order of files in the tutorials)."""
        return tuple(self.entries)

    def read(self, name: str) -> bytes:
        """The bytes of one file; `BadInput` where it is absent, damaged or lies about its size."""
        if name not in self.entries:
            raise BadInput(f"no file '{name}'", where=self.origin)
        self.was_read.add(name)
        return self.entries[name].read()

    def kind(self, name: str) -> FileKind:
        """What a file is by its first bytes, which are read once."""
        if name not in self.kinds:
            self.kinds[name] = kind_of(self.entries[name].head())
        return self.kinds[name]

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The names of all images, by their suffix or, where that says nothing, by their bytes."""
        return tuple(
            n for n in self.entries if n.lower().endswith(SUFFIXES) or self.kind(n).is_picture
        )

    @cached_property
    def dicoms(self) -> tuple[str, ...]:
        """The names of all DICOM files, by their bytes; a `DICOMDIR` only refers to others."""
        names = (n for n in self.entries if not n.lower().endswith((*SUFFIXES, "dicomdir")))
        return tuple(n for n in names if self.kind(n).format == "DICOM")

    @cached_property
    def pictures(self) -> tuple[str, ...]:
        """The images, and the DICOM files that no image of the same name stands for."""
        stems = {stem_of(n) for n in self.images}
        alone = (n for n in self.dicoms if stem_of(n) not in stems)
        return tuple(sorted((*self.images, *alone)))

    def ending(self, *suffixes: str) -> list[str]:
        """The names that end in one of `suffixes`, whatever the case."""
        return [n for n in self.entries if n.lower().endswith(suffixes)]

    @cached_property
    def tables(self) -> list[str]:
        """The names of tables and workbooks, by their suffix; without the lock files of Excel."""
        names = self.ending(".csv", ".tab", ".tsv", *workbook.SUFFIXES)
        return [n for n in names if not n.rsplit("/", 1)[-1].startswith("~$")]

    @cached_property
    def headers(self) -> dict[str, tuple[str, ...]]:
        """`{name: (column, ...)}` of every table in the tree, by its first line.

        A file without a suffix is a table where it is text with several columns.
        """
        found = {n: tables.header(self.entries[n].read()) for n in self.tables}
        bare = [n for n in self.entries if "." not in n.rsplit("/", 1)[-1]]
        small = [n for n in bare if self.entries[n].size <= MOST_OF_A_TABLE
                 and not self.kind(n).is_picture and self.kind(n).format != "DICOM"]  # fmt: skip
        of_bare = {n: tables.header(self.entries[n].read()) for n in small}
        found |= {n: names for n, names in of_bare.items() if len(names) > 2}
        return {name: columns for name, columns in found.items() if columns}

    @cached_property
    def json_keys(self) -> dict[str, frozenset[str]]:
        """`{name: keys}` of every JSON file that holds one object; a huge one is passed over."""
        found = {}
        for name in self.ending(".json"):
            if self.entries[name].size <= MOST_OF_A_JSON:
                with contextlib.suppress(ValueError, BadInput):
                    stored = json.loads(self.entries[name].read())
                    found[name] = frozenset(stored) if isinstance(stored, dict) else frozenset()
        return found

    def with_keys(self, *keys: str) -> list[str]:
        """The JSON files that hold one object with all of `keys`."""
        return [n for n, known in self.json_keys.items() if set(keys) <= known]

    def with_columns(self, *columns: str) -> list[str]:
        """The tables whose header has all of `columns`."""
        return [n for n, known in self.headers.items() if set(columns) <= set(known)]

    def named(self, pattern: str) -> list[str]:
        """The names whose last part matches the regular expression `pattern`, whatever the case."""
        test = re.compile(pattern, re.IGNORECASE)
        return [n for n in self.entries if test.fullmatch(n.rsplit("/", 1)[-1])]
