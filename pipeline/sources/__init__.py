"""Opening a source and streaming its units of rows: files, data sets of the hub, functions of Python files.

source.py decides what ``--src`` names; files.py, hub.py and snippets.py read each make; questions.py fetches statements that
a data set leaves out; units.py is what they all yield. What a row means is not decided here but in ``rows``.
"""
