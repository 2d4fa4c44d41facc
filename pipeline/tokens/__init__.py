"""Text to token ids and back: tokenizers (tokenizer.py), fast engines (bpe.py), chat templates (template.py).

codec.py puts them together: ids come with the bytes that they stand for, which is what ``syntax`` aligns. No row and no tree
is known here.
"""
