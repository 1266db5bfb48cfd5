"""The two ways in which a verb can end badly: the input is at fault, or we are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BadInput(Exception):
    """The user's input cannot be used. One line: what, where, what to do.

    The command line prints it without a traceback and exits 2; the server answers with a
    problem document. Anything else that escapes is a bug of ours (exit 1).
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        parts = [f"{where}: {what}" if where else what]
        if remedy:
            parts.append(remedy)
        super().__init__(one_line("; ".join(parts)))


class Interrupted(Exception):
    """Stopped on request, with all state saved; the message says how to go on (exit 130)."""


def one_line(text: str) -> str:
    """Escape line breaks and control characters, so that a name cannot forge a log line.

    >>> one_line("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to a mistyped one, or lists a few of them.

    >>> nearest("learnig_rate", ["learning_rate", "epochs"])
    "did you mean 'learning_rate'?"
    """
    words = list(known)
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(words[:12]) + (", ..." if len(words) > 12 else "")
    return f"known: {shown}"


def counted(n: int, singular: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "image"), counted(1200, "copy", "copies")
    ('1 image', '1,200 copies')
    """
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"
