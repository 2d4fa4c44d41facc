"""What a person sees of a run: progress and curves, validation losses, previews of programs restored and written.

progress.py writes metrics and files, previews.py makes the text of samples.txt, metrics.py has the records. Nothing here
changes a weight; which checkpoint is the best is decided in the trainer, how many are kept in ``engine``.
"""
