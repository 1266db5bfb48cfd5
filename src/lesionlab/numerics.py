"""What has to be asked of the arithmetic libraries before they are loaded: by the environment.

`import lesionlab` asks for nothing, since the process belongs to its user. The command line asks
first of all; a verb called from Python asks where nothing is loaded yet, so that it still helps.
"""

from __future__ import annotations

import os
import sys

MKL = "MKL_CBWR"
# MKL takes other instructions for an array at an odd address, so that two equal runs could differ
# in the last bit (docs/decisions/0082). Large arrays lie on large pages only where torch is told
# so (docs/decisions/0084).
VARIABLES = {MKL: "AUTO,STRICT", "THP_MEM_ALLOC_ENABLE": "1"}
LIBRARIES = ("numpy", "torch", "mkl")  # each may bring MKL, which reads its variables once

# What was loaded before MKL was asked. The environment cannot tell this afterwards.
_loaded_before: tuple[str, ...] = ()


def ask_for_exact_numerics() -> None:
    """Set the variables that are not set; a person's own values are respected.

    Child processes inherit them. Where a library was loaded before, this process is not bit-exact
    although the variables are set from now on: `why_inexact` goes on to say so.
    """
    global _loaded_before
    if MKL not in os.environ:
        _loaded_before = _loaded()
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


def ask_before_loading() -> None:
    """Set the variables where that still helps this process; otherwise leave everything alone."""
    if not _loaded():
        ask_for_exact_numerics()


def why_inexact() -> str:
    """Why two equal runs of this process may differ in the last bit; "" where they may not."""
    if _loaded_before:
        names = " and ".join(_loaded_before)
        return f"not bit-exact: {names} had been loaded before {MKL} was set"
    return "" if MKL in os.environ else f"not bit-exact: {MKL} is not set"


def mkl_mode() -> str:
    """The mode that MKL was asked for in time; "" where it was not asked, or too late."""
    return "" if _loaded_before else os.environ.get(MKL, "")


def _loaded() -> tuple[str, ...]:
    return tuple(name for name in LIBRARIES if name in sys.modules)
