"""Processor, cores and memory of this machine, as far as this process may use them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
OWN_CGROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def processor() -> str:
    """The processor's name, or `unknown`."""
    return _field("model name") or "unknown"


def has_bfloat16() -> bool:
    """Returns True if this processor has instructions for bfloat16."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_field("flags").split())


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or fewer in a container.

    Not psutil's, which knows the machine's memory only and not the limits of control groups.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_limits()])


def _limits() -> Iterator[int]:
    """Yields the limits, in bytes, of the control groups (of version 1 or 2) of this process."""
    if not OWN_CGROUPS.exists():
        return
    for line in OWN_CGROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        # The limits of a group's parents hold for it too. In a container the path may be the one
        # that the host sees, while the container sees its own group as the root.
        group = root / path.lstrip("/")
        for folder in (group, *group.parents[: len(group.parts) - len(root.parts)]):
            with suppress(OSError, ValueError):  # no such file, or `max`
                yield int((folder / name).read_text())


def _field(name: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty if there is none."""
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""
