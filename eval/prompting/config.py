"""What ``generate`` and ``infill`` are asked for: settings, read without torch."""

FILL = "<FILL>"
DEFAULT_HOLE_TOKENS = 32
