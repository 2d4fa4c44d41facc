"""What a person sees of a run: progress and curves, validation losses, previews of programs restored and written.

Nothing here changes a weight; which checkpoint is kept is decided in the trainer.
"""
