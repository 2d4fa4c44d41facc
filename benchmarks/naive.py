"""The pipeline that a user would write in an afternoon, as the thing to compare the build with.

``datasets.map`` row by row, CPython's ``ast``, the tokenizers library with offsets, ``char_to_token`` at both ends of every
node, Python lists. It is right on ordinary rows (columns of ``ast`` are bytes, and are converted), and does less than the
build: no rejects by reason, roles, kinds of leaves or parents of spans, no validation split, no restart.
"""

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FENCE = re.compile(r"```python\n(.*?)\n```", re.DOTALL)
PROMPT, REASONING, CODE, SCAFFOLD = range(4)


class NaivePipeline:
    """A function for ``datasets.map``: one row to ids, labels and spans."""

    def __init__(self, tokenizer_folder: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(tokenizer_folder))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The sample of a row; without spans where it holds no program that parses."""
        turns = [{"role": "user", "content": row["input"]}, {"role": "assistant", "content": row["output"]}]
        text: str = self.tokenizer.apply_chat_template(turns, tokenize=False)
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        think = text.find("<think>")
        answer = max(text.rfind("</think>"), 0)
        blocks = list(FENCE.finditer(text, answer))
        code_start, code_end = blocks[-1].span(1) if blocks else (len(text), len(text))

        def label(char: int) -> int:
            if char < think:
                return PROMPT
            if char < answer:
                return REASONING
            return CODE if code_start <= char < code_end else SCAFFOLD

        spans = sorted(token_spans(text[code_start:code_end], code_start, encoding), key=lambda span: (span[0], -span[1]))
        return {
            "input_ids": encoding["input_ids"],
            "labels": [label(start) for start, _ in encoding["offset_mapping"]],
            "span_start": [start for start, _, _ in spans],
            "span_end": [end for _, end, _ in spans],
            "span_kind": [kind for _, _, kind in spans],
        }


def token_spans(code: str, code_start: int, encoding: Any) -> Iterator[tuple[int, int, str]]:
    """Token interval and kind of every statement and expression of two tokens or more, each interval once."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return
    lines = io.StringIO(code, newline="").readlines()  # ends lines where Python does, not at form feeds
    line_start = [code_start]
    for line in lines:
        line_start.append(line_start[-1] + len(line))

    def char_of(line_number: int, column: int) -> int:
        line = lines[line_number - 1]
        chars = column if line.isascii() else len(line.encode()[:column].decode())
        return line_start[line_number - 1] + chars

    seen = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt | ast.expr) or node.end_lineno is None or node.end_col_offset is None:
            continue
        first = encoding.char_to_token(char_of(node.lineno, node.col_offset))
        last = encoding.char_to_token(char_of(node.end_lineno, node.end_col_offset) - 1)
        if first is None or last is None or last <= first or (first, last) in seen:
            continue
        seen.add((first, last))
        yield first, last + 1, type(node).__name__
