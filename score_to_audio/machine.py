"""What this machine, or the container that it is, has to offer."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Of ``mallopt`` (glibc, ``malloc.h``): sizes above which the system gets memory back, and provides it."""
LARGEST_INT = 2**31 - 1
CGROUP = Path("/sys/fs/cgroup")
"""Of version 2, as a container sees its own."""


def cores() -> int:
    """Processor cores that this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no limit: "max 100000"
        quota, period = map(int, (CGROUP / "cpu.max").read_text().split())
        found = min(found, max(quota // period, 1))
    return found


def has_fast_bfloat16(device: str) -> bool:
    """Whether ``device`` computes in bfloat16 at least as fast as in float32. Processors without instructions
    for it (AVX-512 BF16, AMX) are several times slower."""
    import torch

    kind = torch.device(device).type
    return kind != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def keep_freed_memory() -> None:
    """Let this process keep large blocks that it frees, for the next ones (glibc; elsewhere nothing happens).

    A training allocates the same large tensors in each step. By default glibc returns those above 32 MiB to
    the system at once, and clearing their pages anew takes up to two fifths of the processor time
    (docs/measurements.md).
    """
    with suppress(AttributeError, OSError):
        change = ctypes.CDLL(None).mallopt
        # An older glibc refuses so high a threshold; the other setting alone would make things worse.
        if change(MMAP_THRESHOLD, LARGEST_INT):
            change(TRIM_THRESHOLD, LARGEST_INT)


def available_memory() -> int:
    """Bytes that can be allocated without swapping."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with suppress(OSError, ValueError):  # no limit: "max"
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        found = min(found, limit - used)
    return max(found, 0)
