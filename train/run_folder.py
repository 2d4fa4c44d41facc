"""Names of the files that a run leaves for people and reports. Those of checkpoints are in engine, the model's in model."""

METRICS = "metrics.jsonl"  # a JSON object per step, validation and preview
PICTURE = "curves.png"
SAMPLES = "samples.txt"
