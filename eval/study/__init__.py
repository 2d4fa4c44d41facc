"""The comparison of the paper as one command: study.py from top to bottom, its arms and sizes in studies.toml.

Arms are trained and evaluated by the project's own commands (jobs.py), measured (measures.py) and written as tables and a
page, whose frame is the report's. How a single model is evaluated is not decided here.
"""
