"""Models and what they generate: checkpoints, the two kinds of model, the sampler with its caches, repair, likelihoods.

Read language_model.py first. Problems, prompts and scores are not known here: ids in, ids and text out.
"""
