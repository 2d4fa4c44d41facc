"""Weights from files of other programs, made into plain folders of transformers before a run. No run needs this room."""
