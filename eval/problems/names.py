"""Names of the benchmarks and their splits. reader.py reads the problems."""

INFILLING = "humaneval-infilling"
BENCHMARKS = ("humaneval", "humaneval-plus", INFILLING, "mbpp")
MBPP_SPLITS = ("sanitized-test", "test", "sanitized", "full", "plus")
DEFAULT_MBPP_SPLIT = "sanitized-test"
