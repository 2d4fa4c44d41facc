"""A model and what it writes: loading checkpoints, denoising on canvases, caching, left-to-right baselines, repair, likelihood.

Problems, prompts and scores are not known here: ids in, ids and text out.
"""
