"""The denoiser and where its weights come from and go to: presets, LLaDA's layout, causal models, adapters, the export.

start.py says where a model starts from and which config.json is refused, agreement.py tests whether a model can be a denoiser.
llada_layout.py has LLaDA's names of tensors and its configuration, llada_check.py what they can hold. denoising_step.py
chooses which masked positions a step fills, and with what; generation and previews share it, and its settings are in
denoising_config.py. Blocks, batches and caches of generation are in ``eval``. DeepSpeed is not known here.
"""
