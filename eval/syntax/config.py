"""Which subtrees of a program count as patterns: a setting, read without numpy. Shapes are in shapes.py."""

from typing import NamedTuple


class Size(NamedTuple):
    """Which subtrees count as patterns: those with so many named nodes, their root among them."""

    min_nodes: int = 4
    max_nodes: int = 12
