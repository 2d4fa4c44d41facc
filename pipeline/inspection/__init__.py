"""What shards hold: verification of every sample, counts and their picture, and one sample in the terminal.

Nothing here writes shards.
"""
