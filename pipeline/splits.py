"""Names of the splits of a folder of shards. The shards are in shard.py, which reads and writes with pyarrow."""

SPLITS = ("train", "validation")
