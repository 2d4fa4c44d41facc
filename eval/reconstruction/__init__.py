"""How well a model restores masked programs: masked samples, restored, measured by tokens, spans and subtrees; losses.

What is masked is drawn by the trainer's own corruption.
"""
