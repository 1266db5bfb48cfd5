"""Fit the machine: device, precision and threads are chosen here, printed and recorded."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import timm
import torch

from lesionlab import numerics
from lesionlab.errors import BadInput
from lesionlab.platforms import available_memory, usable_cpus
from lesionlab.training.distributed import ALONE, Ranks, join_ranks

# Raised whenever the same settings and data would no longer give the same bits.
NUMERICS = 1
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Machine:
    """Where and how a run computes. Exact repetition holds on the same one only."""

    device: str
    precision: str  # of training; predictions are always float32
    threads: int
    ranks: Ranks = ALONE

    def use_threads(self) -> None:
        """Give torch this machine's threads: other work in the process may have changed them.

        Bits depend on the number, so every training and prediction begins with this.
        """
        torch.set_num_threads(self.threads)

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
        raise BadInput("no CUDA device was found", where="--device", remedy="use --device cpu")
    if device.split(":")[0] == "mps":
        raise BadInput(
            "mps is not supported: losses are summed in float64, which Apple GPUs lack",
            where="--device",
            remedy="use --device cpu",
        )
    if device != "cpu" and not device.startswith("cuda"):
        raise BadInput(f"'{device}' is neither cpu nor cuda", where="--device")
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(device) else "float32"
    if precision == "float16" and device == "cpu":
        raise BadInput("float16 training needs a GPU", where="precision", remedy="use bfloat16")
    ranks = join_ranks(device)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    threads = threads or max(1, usable_cpus() // here)
    machine = Machine(device, precision, threads, ranks)
    machine.use_threads()
    return machine


def free_memory(device: str) -> int | None:
    """Bytes that a run can still take, of the GPU or of this process's group; None if unknown."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def milliseconds_an_image(
    body: torch.nn.Module, shape: tuple[int, int, int], images: int = 4, seconds: float = 2.0
) -> float:
    """Median time of a forward pass in float32 on the processor, for each of `images` at once.

    `shape` is (C, H, W). The first pass is not counted; passes are made for about `seconds`, and
    two at least.
    """
    batch, times = torch.zeros(images, *shape), list[float]()
    body.eval()
    with torch.inference_mode():
        while len(times) < 3 or sum(times[1:]) < seconds:
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
