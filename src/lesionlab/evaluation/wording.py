"""How messages call an option: by the words of whoever reads them.

The same check answers the command line and the Python function of arrays. It asks the `Wording`
of its caller, so that neither reader is told to type what the other one would.
"""

from __future__ import annotations

from typing import Protocol


class Wording(Protocol):
    """The name of an option, with the value to give it where one is advised."""

    def __call__(self, name: str, value: str = "") -> str: ...


# Where the function of arrays calls a thing otherwise than the command.
ARGUMENTS = {"malignant": "positive"}


def option(name: str, value: str = "") -> str:
    """As on the command line.

    >>> option("split", "valid"), option("calib")
    ('--split valid', '--calib')
    """
    return f"--{name} {value}".rstrip()


def argument(name: str, value: str = "") -> str:
    """As in a call of the Python function of arrays.

    >>> argument("split", "valid"), argument("calib"), argument("malignant")
    ("split='valid'", 'calib', 'positive')
    """
    name = ARGUMENTS.get(name, name)
    return f"{name}={value!r}" if value else name
