"""Short exercises that a small model can learn: statements and programs composed of pieces, and the test sets.

pieces.py has what a composition consists of; level1.py and level2.py hold the pieces of each level; compose.py makes statement
and program of a composition, with templates.py; levels.py draws the stream to train on; held_out.py reads the test sets;
inputs.py draws arguments; folding.py tells when two programs are the same but for their names. How rows of them enter a build
is in ``sources``, how programs are judged in ``eval``.
"""
