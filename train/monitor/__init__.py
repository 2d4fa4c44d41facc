"""What a person sees of a run: progress, curves, validation losses, and programs restored and written along the way."""
