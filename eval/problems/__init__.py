"""Problems that are solved by writing a program: HumanEval, MBPP, their Plus forms, infilling, and exercises of our own.

A module per benchmark, with the format of its rows (row_format.py); names.py and reader.py list them. What a model is shown of
one is in ``prompting``, running its tests in ``sandbox``.
"""
