"""What a leaf of the syntax tree can become: the tables that `relabel` and `placeholder` read.

Learnt from the shards and the manifest, so that no tokenizer and no language needs a list of its own: the filler of a kind
is the commonest token that is all of a leaf of that kind.
"""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from syntaxdiff.pipeline.shard import Manifest, iter_rows
from syntaxdiff.train.corruption.operators import LeafTables, is_whole_leaf
from syntaxdiff.train.data.batch import check_row

ROWS_READ = 512  # samples that fillers are counted in
_INTERCHANGEABLE = (  # anonymous kinds, whose name is their text, that stand for each other wherever they are an operator
    ("+", "-"),
    ("//", "%"),
    ("<<", ">>"),
    ("==", "!=", "<", "<=", ">", ">="),
    ("and", "or"),
    ("&&", "||"),
    ("+=", "-=", "*=", "/="),
    ("++", "--"),
    ("break", "continue"),
)
_NAMED_INTERCHANGEABLE = (("true", "false"), ("break_statement", "continue_statement"))
_OTHER_MEANINGS = {  # signs that are more than an operator there: brackets of types and tags, references, closures, bounds
    "cpp": ("<", ">", "&&"),
    "java": ("<", ">"),
    "javascript": ("<", ">"),
    "rust": ("<", ">", "+", "&&", "||"),
    "typescript": ("<", ">"),
}


def _is_delimiter(kind: str) -> bool:
    """Whether a named kind is punctuation, which no filler replaces: the quotes of a string, a backslash at a line's end."""
    return kind.endswith(("_start", "_end")) or kind in ("line_continuation", "escape_sequence")


def leaf_tables(folder: Path, manifest: Manifest) -> LeafTables:
    """The tables for a folder of shards, on the CPU; the same for every process that reads the folder.

    Raises:
        ShardError: a shard cannot be read
    """
    languages = sorted(manifest.languages)
    num_kinds = max((len(kinds.node_kinds) for kinds in manifest.languages.values()), default=1)
    filler = np.full((len(languages), num_kinds), -1, dtype=np.int64)
    classes = np.full((len(languages), num_kinds), -1, dtype=np.int64)
    for language_index, language in enumerate(languages):
        kinds = manifest.languages[language]
        excluded = _OTHER_MEANINGS.get(language, ())
        for kind, (name, is_named) in enumerate(zip(kinds.node_kinds, kinds.named, strict=True)):
            groups = _NAMED_INTERCHANGEABLE if is_named else _INTERCHANGEABLE
            found = [number for number, group in enumerate(groups) if name in group and name not in excluded]
            if found:
                classes[language_index, kind] = num_kinds + is_named * len(_INTERCHANGEABLE) + found[0]
            elif is_named:
                classes[language_index, kind] = kind
    counts: Counter[tuple[int, int, int]] = Counter()
    for row in islice(iter_rows(folder), ROWS_READ):
        start, end = check_row(row, manifest.languages)
        kind_C = row.leaf_kind.astype(np.int64)
        is_whole_C = is_whole_leaf(torch.from_numpy(kind_C)[None])[0].numpy()
        pairs = zip(kind_C[is_whole_C].tolist(), row.input_ids[start:end][is_whole_C].tolist(), strict=True)
        counts.update((languages.index(row.language), kind, token) for kind, token in pairs)
    for (language_index, kind, token), _ in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        kinds = manifest.languages[languages[language_index]]
        if kinds.named[kind] and not _is_delimiter(kinds.node_kinds[kind]):
            filler[language_index, kind] = token  # the commonest comes last
    return LeafTables(torch.from_numpy(filler), torch.from_numpy(classes))
