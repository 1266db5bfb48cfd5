"""Fit the machine: device, precision and threads are chosen here, printed and recorded."""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import timm
import torch

from lesionlab import numerics
from lesionlab.errors import BadInput
from lesionlab.training.distributed import ALONE, Ranks, join_ranks

# Raised whenever the same settings and data would no longer give the same bits.
NUMERICS = 1
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Machine:
    """Where and how a run computes. Exact repetition holds on the same one only."""

    device: str
    precision: str  # of training; predictions are always float32
    threads: int
    ranks: Ranks = ALONE

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a training forward pass."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.split(":")[0], dtype=DTYPES[self.precision])

    def describe(self) -> str:
        """One line for the person who waits."""
        world = self.ranks.world
        several = f"{world} processes, each with " if world > 1 else ""
        threads = f"{several}{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.device}, training in {self.precision}, {threads}"

    def fingerprint(self) -> dict[str, object]:
        """What bit-exact repetition depends on besides the settings."""
        capability = torch.backends.cpu.get_cpu_capability()
        if self.device != "cpu":
            capability = torch.cuda.get_device_name(self.device)
        return {
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "processes": self.ranks.world,
            "capability": capability,
            "mkl": numerics.mkl_mode(),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "numerics": NUMERICS,
        }


def choose_machine(device: str = "auto", precision: str = "auto", threads: int = 0) -> Machine:
    """The best this machine has; `BadInput` for what it has not.

    bf16 on a CPU only where the processor computes it (AVX512-BF16 or AMX), else it is slower.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput("no CUDA device here", where="--device", remedy="use --device cpu")
    if device != "cpu" and not device.startswith("cuda"):
        raise BadInput(f"'{device}' is neither cpu nor cuda", where="--device")
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(device) else "float32"
    if precision == "float16" and device == "cpu":
        raise BadInput("float16 trains on a GPU only", where="precision", remedy="use bfloat16")
    ranks = join_ranks(device)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    threads = threads or max(1, len(os.sched_getaffinity(0)) // here)
    torch.set_num_threads(threads)
    return Machine(device, precision, threads, ranks)


def keep_memory() -> bool:
    """Ask the C library to keep what a step frees for the next one; whether it will.

    For the whole process and for good, so only a stage of training on a processor asks for it.

    Each step allocates the same large arrays. glibc gives them back to the kernel, which then has
    to clear every page again: a sixth of a step's time (docs/decisions/0084).
    """
    trim_threshold, mmap_threshold, a_gibibyte = -1, -3, 2**30
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return bool(mallopt(trim_threshold, 2**31 - 1) and mallopt(mmap_threshold, a_gibibyte))


def free_memory(device: str) -> int | None:
    """Bytes that a run can still take, of the GPU or of this process's group; None if unknown."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = MEMINFO.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable"))
        found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError, KeyError):  # "max" where there is no limit
        limit = int((CGROUP / "memory.max").read_text())
        taken = int((CGROUP / "memory.current").read_text())
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        pages = {name: int(count) for name, count in (line.split() for line in lines)}
        given_back = pages["active_file"] + pages["inactive_file"]  # the kernel drops these first
        found.append(limit - taken + given_back)
    return min(found, default=None)


def milliseconds_an_image(
    body: torch.nn.Module, shape: tuple[int, int, int], images: int = 8, repeats: int = 5
) -> float:
    """Median time of a forward pass in float32 on the processor, for each of `images` at once.

    `shape` is (C, H, W). The first pass is not counted.
    """
    batch, times = torch.zeros(images, *shape), []
    body.eval()
    with torch.inference_mode():
        for _ in range(repeats + 1):
            started = time.perf_counter()
            body(batch)
            times.append(time.perf_counter() - started)
    return round(1000 * statistics.median(times[1:]) / images, 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whichever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _has_bfloat16(device: str) -> bool:
    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
