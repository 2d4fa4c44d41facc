"""Samples in the order of training: streamed from shards, shuffled, resumable, and padded into batches."""
