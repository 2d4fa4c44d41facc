"""What is hidden from the model and what the loss scores: strategies, operators, noise level, curriculum, objective.

Batched and on the device. The cross entropy itself is the model's.
"""
