"""Samples in the order of training: streamed, shuffled, sorted and shared out to ranks (loader.py), and padded (batch.py).

Masks are not drawn here but in ``corruption``, on the device.
"""
