"""From a problem to a prompt, and from an answer to its program. Sampling is in ``inference``, running in ``sandbox``."""
