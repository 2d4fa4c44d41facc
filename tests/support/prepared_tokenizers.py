"""Tokenizers of every make in folders of their own, and samples built with them beside what they must be by definition."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reference import ReferenceTree, Sequenced, Vocabulary, anchor_of, sequence_of

if TYPE_CHECKING:
    from syntaxdiff.pipeline.assembly.sample import Sample
    from syntaxdiff.pipeline.rows.record import Record
    from syntaxdiff.pipeline.tokens.codec import Codec
    from syntaxdiff.pipeline.tokens.template import Template

BYTE_LEVEL = ("gpt2", "qwen", "trained")
METASPACE = ("metaspace", "metaspace-prepend", "metaspace-nfc")
TOKENIZERS = (*BYTE_LEVEL, *METASPACE)
QUICK = tuple(name for name in TOKENIZERS if name != "qwen")  # whose 150,000 tokens take seconds to read


@dataclass(frozen=True)
class Prepared:
    """A tokenizer in a folder, as a build uses it."""

    name: str
    folder: Path

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.folder)

    @cached_property
    def hub(self) -> Any:
        from syntaxdiff.pipeline.tokens.tokenizer import load_tokenizer

        return load_tokenizer(str(self.folder))

    @cached_property
    def hf(self) -> Any:
        """The tokenizers library on the same file, nothing of ours between."""
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self.folder / "tokenizer.json"))

    @cached_property
    def hf_without_specials(self) -> Any:
        """The same, with special tokens in a text left as text."""
        from tokenizers import Tokenizer

        backend = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        backend.encode_special_tokens = True
        return backend

    @cached_property
    def codec(self) -> "Codec":
        """The engine that a build takes, without its proof: that is test_engine.py's."""
        from syntaxdiff.pipeline.tokens.codec import Codec

        return Codec(self.folder, "tiktoken" if self.name in BYTE_LEVEL else "auto", proven=self.name in BYTE_LEVEL)

    @cached_property
    def template(self) -> "Template":
        from syntaxdiff.pipeline.tokens.template import read_template

        return read_template(self.hub)

    def build(
        self, records: "list[Record]", max_length: int = 10**7, overlength: str = "drop", codec: "Codec | None" = None
    ) -> "list[Built]":
        """Samples of records beside what they are made of; a record that is refused raises its error."""
        from syntaxdiff.pipeline.assembly.sample import make_samples
        from syntaxdiff.pipeline.errors import RowError

        samples = make_samples(records, codec or self.codec, self.template, max_length, overlength)
        assert len(samples) == len(records)
        built = []
        for record, sample in zip(records, samples, strict=True):
            if isinstance(sample, RowError):
                raise sample
            built.append(Built(self, record, sample))
        return built


@dataclass(frozen=True)
class Built:
    """A sample, and what it must be by definition, worked out from its record when asked."""

    prepared: Prepared
    record: "Record"
    sample: "Sample"

    @cached_property
    def sequence(self) -> Sequenced:
        from syntaxdiff.pipeline.syntax.grammar import load_grammar

        normalize = self.prepared.codec.normalize
        prompt, reasoning, code = map(normalize, (self.record.prompt, self.record.reasoning, self.record.code))
        fence = load_grammar(self.record.language).fence
        return sequence_of(self.prepared.template.pieces(prompt, reasoning, code, fence))

    @cached_property
    def ids(self) -> list[int]:
        return [int(i) for i in self.sample.input_ids]

    @cached_property
    def anchors(self) -> list[int]:
        """Anchor of every token in the sequence's bytes; the sample must not be trimmed."""
        intervals = self.prepared.vocabulary.intervals(self.ids, self.sequence.text)
        return [anchor_of(interval, self.sequence.text) for interval in intervals]

    @cached_property
    def code(self) -> bytes:
        return self.sequence.text[slice(*self.sequence.code)]

    @cached_property
    def tree(self) -> ReferenceTree:
        start = self.sequence.code[0]
        return ReferenceTree(self.code, self.record.language, [anchor - start for anchor in self.anchors])

    def __repr__(self) -> str:
        return f"{self.prepared.name}/{self.record.source_id}"


def _training_text() -> list[str]:
    library = Path(os.__file__).parent
    return [
        (library / name).read_text("utf-8") for name in ("argparse.py", "bisect.py", "heapq.py", "textwrap.py", "turtle.py")
    ]


def train_byte_level(folder: Path) -> None:
    """A byte-level BPE vocabulary of 2,000, trained on the standard library."""
    from syntaxdiff.pipeline.tokens.tokenizer import save_tokenizer, train_tokenizer

    save_tokenizer(train_tokenizer(_training_text(), 2000), folder)


CHAT_WITH_SPECIAL_TOKENS = (
    "{{ bos_token }}{% for message in messages %}{{ '[' + message['role'] + '] ' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)


def metaspace_tokenizer(make: str) -> Any:
    """A SentencePiece-like BPE vocabulary: spaces as ▁, what is unknown as bytes.

    ``metaspace`` makes ▁ in the pre-tokenizer and sets one before the first word of the text; ``metaspace-prepend`` in the
    normaliser, as Llama 2 does, and sets one before every stretch between special tokens; ``metaspace-nfc`` does so after NFC.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    spaces = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    if make == "metaspace":
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        backend.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
        )
    else:
        backend.normalizer = normalizers.Sequence([normalizers.NFC(), spaces]) if make == "metaspace-nfc" else spaces
        backend.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special, show_progress=False, limit_alphabet=90)
    lines = [line for text in _training_text() for line in text.splitlines(keepends=True)]
    backend.train_from_iterator(lines, trainer)
    spec = json.loads(backend.to_str())
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [piece for piece in spec["model"]["vocab"] if piece not in pieces]
    spec["model"]["vocab"] = {piece: i for i, piece in enumerate(pieces)}
    return Tokenizer.from_str(json.dumps(spec))


def save_backend(backend: Any, folder: Path) -> None:
    """A tokenizer of the tokenizers library as a folder that transformers loads, with ``<s>`` and ``</s>`` around turns."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = CHAT_WITH_SPECIAL_TOKENS
    tokenizer.save_pretrained(folder)


def save_with_mask(name: str, folder: Path) -> None:
    """A tokenizer by name or folder, given a mask token."""
    from syntaxdiff.pipeline.tokens.tokenizer import load_tokenizer, save_tokenizer

    save_tokenizer(load_tokenizer(name), folder)
