"""One row of a source as problem, reasoning and program; and which rows share a problem.

fields.py has the names that fields go by, record.py the shapes of rows (plain fields, chat messages) and what becomes of
each, response.py takes an answer apart, grouping.py keys rows by their problem. Where rows come from is in ``sources``, what
becomes of records in ``assembly``.
"""
