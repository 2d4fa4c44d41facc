"""Opening a source and streaming its units of rows: files, data sets of the hub, functions of Python files.

What a row means is not decided here but in ``rows``.
"""
