"""DeepSpeed and the processes of a run: ranks, communication, checkpoints, resuming, signals, the lock of the output folder.

What its JSON file may hold is in ``deepspeed_json``.
"""
