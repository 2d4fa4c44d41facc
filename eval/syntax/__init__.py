"""Whether programs parse and compile (validity.py, compiler.py), and the shapes of their trees (shapes.py).

Repairing what does not parse is in ``inference``; programs are not run here.
"""
