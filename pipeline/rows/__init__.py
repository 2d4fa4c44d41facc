"""One row of a source as problem, reasoning and program, whatever its fields are called; and which rows share a problem.

Where rows come from is in ``sources``, what becomes of them in ``assembly``.
"""
