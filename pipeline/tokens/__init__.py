"""Text to token ids and back: tokenizers by name or training, fast BPE engines, chat templates.

Ids come with the bytes that they stand for, which is what ``syntax`` aligns.
"""
