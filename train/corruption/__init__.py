"""What is hidden from the model and what the loss scores, batched and on the device.

config.py has the settings; noise.py the mask rate and its curriculum; strategies.py which tokens are hit; operators.py and
leaves.py what replaces them; objective.py which positions are scored, and their weights; corrupt.py puts them together. The
cross entropy itself is the model's.
"""
