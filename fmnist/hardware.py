"""What this machine is, for the record, and what it multiplies fast."""

import os
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """The processor's name, or `unknown`."""
    return _field("model name") or "unknown"


def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_field("flags").split())


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _field(name: str) -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""
