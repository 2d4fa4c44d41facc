"""Running untrusted programs against tests, and the verdict on each. Knows nothing of models.

Imports of this room must be light: a bare interpreter loads it inside the jail, from this folder and the standard library only.
"""
