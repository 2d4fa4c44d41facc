"""A benchmark from problems to scores: writing and judging the answers, the results folder, and comparing results."""
