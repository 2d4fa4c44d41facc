"""The DeepSpeed JSON: every key read, checked, filled in, used or named.

config.py reads and completes the file; schema.py has the keys that are known, kinds.py the values they take; sections.py
decides what is named as unused and what is refused; optimizer.py and precision.py have those sections. Building the engine
from it is in ``engine``.
"""
