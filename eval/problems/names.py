"""Names of the benchmarks and their splits. reader.py reads the problems."""

INFILLING = "humaneval-infilling"
EXERCISES = "exercises"
BENCHMARKS = ("humaneval", "humaneval-plus", INFILLING, "mbpp", EXERCISES)
MBPP_SPLITS = ("sanitized-test", "test", "sanitized", "full", "plus")
DEFAULT_MBPP_SPLIT = "sanitized-test"
EXERCISE_SPLITS = ("level1", "level1-unseen", "level1-deeper", "level2", "level2-unseen", "level2-deeper")
DEFAULT_EXERCISE_SPLIT = "level1"
