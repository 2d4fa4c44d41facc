"""From a problem to a prompt (presets.py, prompts.py), and from an answer to its program (extraction.py).

programs.py does both for whoever asks: ``generate`` and ``infill``; live.py shows an answer while it is denoised. Sampling is
in ``inference``, running programs in ``sandbox``.
"""
