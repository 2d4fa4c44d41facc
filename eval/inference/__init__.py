"""A model and what it generates: ids in, ids and text out.

config.py has the options of generation. checkpoint.py opens a folder, special_ids.py finds mask and end tokens.
language_model.py is what both kinds of model do: denoising.py and causal.py; abilities.py says which settings each uses.
sampler.py denoises canvases (canvas.py) with block_reader.py and cache.py; repair.py hides again what does not parse.
Problems, prompts and scores are not known here.
"""
