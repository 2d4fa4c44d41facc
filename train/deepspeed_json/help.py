"""What the trainer's help says of the DeepSpeed JSON, and the name of the file: read without torch."""

AUTO_HELP = (
    'What "auto" becomes in the JSON: train_micro_batch_size_per_gpu is --micro-batch or 1, gradient_accumulation_steps is '
    "--accumulation or 16, and train_batch_size follows; where that is given, it decides what else is not. bf16.enabled is "
    "true where the hardware computes in bfloat16 (GPUs from Ampere on, CPUs with AVX512-BF16 or AMX), or as in the "
    "checkpoint of a run that resumes; fp16.enabled is then false. gradient_clipping is 1.0. "
    "The optimizer is AdamW, lr is --learning-rate, weight_decay is 0, betas and eps are 0.9, 0.999 and 1e-8. The scheduler "
    "is WarmupCosineLR over the steps of the run, with --warmup-share of them a linear warm-up. zero_optimization.stage is "
    "3; reduce_bucket_size is the hidden size squared, stage3_prefetch_bucket_size 0.9 of that, "
    "stage3_param_persistence_threshold 10 times the hidden size. Anything else is DeepSpeed's default, or refused. What "
    "was filled in and what is not used is printed at the start."
)
STARTER = "ds_zero3.json"
