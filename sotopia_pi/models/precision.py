"""Where and in which dtype a model computes: what this machine is built for."""

import os

import torch

DTYPES = ("auto", "bfloat16", "float32")


def fast_dtype(dtype: str = "auto") -> str:
    """ "bfloat16" or "float32": the one that was asked for, and for "auto" the one this machine is built for.

    bfloat16 on a graphics card that knows it and on processors that multiply it in hardware (AVX512-BF16, AMX, Arm
    BF16); float32 elsewhere, where bfloat16 is emulated (on a processor with AVX2 alone a matrix product of
    1024 x 576 x 1536 ran at a seventh of float32's rate). A property of the machine, not a timing: the same machine
    always answers the same, so that a stopped run goes on in the dtype it began in. Raises ValueError.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; allowed: {', '.join(DTYPES)}")
    if dtype != "auto":
        return dtype
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else "float32"


def own_device() -> str:
    """Where this process computes: its own graphics card (LOCAL_RANK, the first without one), or the CPU."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def own_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
