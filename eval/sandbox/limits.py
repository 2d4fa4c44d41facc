"""What a program under test may use. Limits derived from a reference's own time are in sandbox.py."""

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
