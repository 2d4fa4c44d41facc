"""A benchmark from problems to scores: evaluate.py from top to bottom.

config.py is what is asked for, solver.py generates, results.py is the folder, outcome.py and stored_settings.py what it
holds; summary.py counts, compare.py puts results side by side, scoreboard.py prints. Problems, prompts and the sandbox are
rooms of their own.
"""
