"""One row of a source as problem, reasoning and program; and which rows share a problem.

fields.py has the known shapes of rows and the names of their fields, record.py how a row of each shape is read and the hash by
which equal samples are known, response.py takes an answer apart, grouping.py keys rows by their problem. Where rows come from
is in ``sources``, what becomes of records in ``assembly``.
"""
