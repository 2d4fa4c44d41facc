"""Syntax trees: grammars, their node kinds by role, byte ranges to token ranges, and the candidate spans of a program.

The only room that knows tree-sitter. What is masked is not decided here but by the trainer.
"""
