"""The DeepSpeed JSON: every key read, checked, filled in, used or named. Building the engine from it is in ``engine``."""
