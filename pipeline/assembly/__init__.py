"""Records to samples to parts to shards: built in worker processes, deduplicated, split and written in a fixed order.

sample.py makes samples of records, part.py what a worker writes of a unit, pool.py runs the workers, plan.py decides which
samples go where and drops those whose hash (made in ``rows``) came before, assemble.py writes the shards, facts.py counts.
Reading rows is in ``rows``, checking what was written in ``inspection``.
"""
