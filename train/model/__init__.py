"""The denoiser and where its weights come from and go to: presets, LLaDA's layout, causal models, adapters, the export.

``denoising_step.py`` is the one rule that generation and previews share. DeepSpeed is not known here.
"""
