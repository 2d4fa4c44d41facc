"""Records to samples to parts to shards: built in worker processes, deduplicated, split and written in a fixed order.

Reading rows is in ``rows``, checking what was written in ``inspection``.
"""
