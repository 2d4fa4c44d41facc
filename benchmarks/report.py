"""What all benchmarks print: the machine, tables, and an aim beside its figure."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import psutil


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """What the figures depend on: processor, memory, load, and versions of those packages that are installed."""
    cpu_info = Path("/proc/cpuinfo")
    names = [line for line in cpu_info.read_text().splitlines() if line.startswith("model name")] if cpu_info.exists() else []
    installed = [name for name in packages if any(distributions(name=name))]
    return {
        "cpu": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "load_average_at_start": os.getloadavg(),
        "versions": dict(zip(installed, map(version, installed), strict=True)),
    }


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, its first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    print(f"\n{title}")
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())
    sys.stdout.flush()


def verdict(figure: float, *, most: float | None = None, least: float | None = None) -> str:
    """An aim beside its figure."""
    if most is not None:
        return f"at most {most:g}: {'met' if round(figure, 2) <= most else 'MISSED'}"
    if least is not None:
        return f"at least {least:g}: {'met' if round(figure, 2) >= least else 'MISSED'}"
    return "-"


def plain(value: Any) -> Any:
    """Dataclasses and named tuples as JSON holds them."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def print_machine(facts: dict[str, Any]) -> None:
    """The machine in three lines."""
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_bytes'] / 2**30:.0f} GiB; Python {facts['python']}")
    print(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))
    print("load average at start:", ", ".join(f"{load:.2f}" for load in facts["load_average_at_start"]), flush=True)
