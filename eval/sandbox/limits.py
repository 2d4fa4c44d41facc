"""What a program under test may use: by default, as a reference, and as a benchmark's program by what its reference used."""

import math
from dataclasses import asdict, dataclass

from syntaxdiff.pipeline.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use.

    Attributes:
        cpu_seconds: of all its threads, in whole seconds; the verdict ``timeout`` is by these
        wall_seconds: for program and tests together; for those that wait and don't compute
        memory_bytes: of address space, beyond what the bare interpreter has
        output_bytes: that it may print
        threads: beyond the first, where they can be bounded; else none
    """

    cpu_seconds: int = 10
    wall_seconds: float = 70.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 1 << 20
    open_files: int = 64
    threads: int = 32

    def __post_init__(self) -> None:
        if any(value <= 0 for value in asdict(self).values()):
            raise SettingsError("limits must be greater than 0")


REFERENCE_LIMITS = Limits(cpu_seconds=120, wall_seconds=900.0, memory_bytes=4 << 30)
LEAST_CPU_SECONDS = 5
REFERENCE_FACTOR = 5


def limits_from(*, cpu_seconds: float, tests_cpu_seconds: float, peak_bytes: int) -> Limits:
    """Limits of a problem whose reference used so much.

    CPU time is REFERENCE_FACTOR times the reference's, at least LEAST_CPU_SECONDS; memory twice the reference's, at least the
    default.
    """
    allowed = max(LEAST_CPU_SECONDS, math.ceil(REFERENCE_FACTOR * cpu_seconds))
    return Limits(
        cpu_seconds=allowed,
        # The tests' own time passes on the same clock, and either may get a sixth of a core.
        wall_seconds=10 + 6 * (allowed + tests_cpu_seconds),
        memory_bytes=max(Limits().memory_bytes, 2 * peak_bytes),
    )
