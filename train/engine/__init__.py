"""DeepSpeed and the processes of a run: which rank this is, checkpoints, resuming, signals, the lock of the output folder.

deepspeed_engine.py is the only file that drives DeepSpeed, deepspeed_repairs.py puts right what it does wrong. What its JSON
file may hold is in ``deepspeed_json``.
"""
