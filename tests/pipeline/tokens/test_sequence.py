"""Samples as sequences: regions, ids and special tokens, trimming, and tokenizers that cannot be aligned."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from parameters import slow_but
from prepared_tokenizers import CHAT_WITH_SPECIAL_TOKENS, QUICK, TOKENIZERS, Built, Prepared, metaspace_tokenizer, save_backend
from reference import CODE, PROGRAMS, PROMPT, REASONING, SCAFFOLD, Vocabulary

from syntaxdiff.pipeline.assembly.sample import Sample, make_samples
from syntaxdiff.pipeline.errors import RowError, SyntaxdiffError
from syntaxdiff.pipeline.rows.record import Record
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import read_template
from syntaxdiff.pipeline.tokens.tokenizer import load_tokenizer, save_tokenizer

Rows = Callable[[str], list[dict[str, Any]]]
Get = Callable[[str], Prepared]

EVERY_TOKENIZER = pytest.mark.parametrize("name", slow_but(QUICK, TOKENIZERS))


def record(code: str, prompt: str = "Solve it:\n  f(x) < 10?", reasoning: str = "First, é.\n\nSo 🙂.", **others: str) -> Record:
    known: dict[str, Any] = {"language": "python", "source": "test", "source_id": "it", "problem": "it"}
    return Record(prompt=prompt, reasoning=reasoning, code=code.strip("\r\n"), **(known | others))


def records() -> list[Record]:
    """Every crafted program, with prompts and reasoning as odd as the code."""
    odd = [" leading", "trailing ", "\ttab\n\n\n", "é\u0301 \u00a0", "```python\nx\n```", "", "1\r\n2\r3", "'s"]
    odd += ["</think>", "日本\n"]
    return [
        record(code, odd[i % len(odd)], odd[i // 2 % len(odd)], language=language, source_id=name)
        for i, (name, (language, code)) in enumerate(PROGRAMS.items())
    ]


def short_records() -> list[Record]:
    """Those of the crafted programs that are not there for their length, for the many makes of tokenizer."""
    return [chosen for chosen in records() if len(chosen.code) < 2500]


def region_of_tokens(sample: Sample) -> list[int]:
    regions: list[int] = []
    for label, end in zip(sample.region_label.tolist(), sample.region_end.tolist(), strict=True):
        regions += [label] * (end - len(regions))
    return regions


@pytest.fixture(scope="module")
def built(prepared: Get) -> Callable[[str], list[Built]]:
    """Every crafted program as a sample, by tokenizer."""
    made: dict[str, list[Built]] = {}

    def get(name: str) -> list[Built]:
        if name not in made:
            made[name] = prepared(name).build(records())
        return made[name]

    return get


@pytest.fixture(scope="module")
def real_records(rows: Rows) -> list[Record]:
    """Real rows: solutions with their statements, and traces with their reasoning."""
    solved = [
        record(row["completion"], row["query"], row["response"].split("```")[0], source_id=row["task_id"])
        for row in rows("programs/leetcode-train")[::40]
    ]
    traced = []
    for row in rows("traces/r1-codeforces-450")[::30]:
        reasoning = row["output"].partition("<think>")[2].partition("</think>")[0]
        traced.append(record(row["solution"], "A problem", reasoning.strip(), source_id=row["id"]))
    return [r for r in solved + traced if r.code]


# ---------------------------------------------------------------------------------------------------------------- regions


def check_regions(sample: Built) -> None:
    region_of_byte, anchors = sample.sequence.region_of_byte, sample.anchors
    expected = [region_of_byte[anchor] for anchor in anchors]
    assert region_of_tokens(sample.sample) == expected, sample


@EVERY_TOKENIZER
def test_region_is_that_of_the_anchor(name: str, built: Callable[[str], list[Built]]) -> None:
    """A token's region is the region of the byte it is anchored at."""
    for sample in built(name):
        check_regions(sample)


@EVERY_TOKENIZER
def test_region_runs_partition_the_sample(name: str, built: Callable[[str], list[Built]]) -> None:
    """Runs of regions are not empty, differ from their neighbours, and end at the sample's length."""
    for sample in built(name):
        labels, ends = sample.sample.region_label.tolist(), sample.sample.region_end.tolist()
        assert ends[-1] == len(sample.ids), sample
        assert all(start < end for start, end in zip([0, *ends], ends, strict=False)), sample
        assert all(left != right for left, right in itertools.pairwise(labels)), sample
        assert set(labels) <= {PROMPT, REASONING, CODE, SCAFFOLD}


@EVERY_TOKENIZER
def test_sequence_is_the_chat_template_around_the_answer(name: str, prepared: Get) -> None:
    """The sequence is the model's template around the problem and the fenced answer, and ends with an end token."""
    ready = prepared(name)
    sample = ready.build([record("x = f(1)\ny = 2", "Solve it.", "Think\nhard.")])[0]
    answer = "<think>\nThink\nhard.\n</think>\n\n```python\nx = f(1)\ny = 2\n```"
    turns = [{"role": "user", "content": "Solve it."}, {"role": "assistant", "content": answer}]
    rendered = ready.hub.apply_chat_template(turns, tokenize=False).encode()
    text = sample.sequence.text
    assert text.startswith(rendered.rstrip())
    rest = text[len(rendered.rstrip()) :].decode().strip()
    assert rest in ("", *ready.vocabulary.special.values())
    assert sample.ids[-1] in ready.vocabulary.special
    start, end = sample.sequence.code
    assert text[start:end] == b"x = f(1)\ny = 2\n"
    assert text[start - 10 : start] == b"```python\n"
    assert text[end:].startswith(b"```")
    start, end = sample.sequence.reasoning
    assert text[start:end].startswith(b"<think>\nThink\nhard.\n</think>")


@EVERY_TOKENIZER
def test_roles_and_leaves_are_those_of_the_code_region(name: str, built: Callable[[str], list[Built]]) -> None:
    """Roles and leaf kinds count the tokens of the code region, and every span lies in it."""
    for sample in built(name):
        regions = region_of_tokens(sample.sample)
        assert len(sample.sample.role) == len(sample.sample.leaf_kind) == regions.count(CODE), sample
        first, last = regions.index(CODE), len(regions) - regions[::-1].index(CODE)
        assert last - first == regions.count(CODE), sample
        assert all(first <= start for start in sample.sample.spans.start.tolist()), sample
        assert all(end <= last for end in sample.sample.spans.end.tolist()), sample


# -------------------------------------------------------------------------------------------------------------------- ids


def spells_special(sample: Built) -> bool:
    text = sample.record.prompt + sample.record.reasoning + sample.record.code
    return any(token in text for token in sample.prepared.vocabulary.special.values())


def check_ids(sample: Built) -> None:
    assert sample.ids == sample.prepared.hf.encode(sample.sequence.text.decode(), add_special_tokens=False).ids, sample


@EVERY_TOKENIZER
def test_ids_are_those_of_the_whole_text_at_once(name: str, built: Callable[[str], list[Built]]) -> None:
    """Segments tokenised apart give the ids of the whole text with its special tokens."""
    plain = [sample for sample in built(name) if not spells_special(sample)]
    assert len(plain) >= len(PROGRAMS) - 2
    for sample in plain:
        check_ids(sample)


@pytest.mark.parametrize("name", slow_but(["gpt2", "trained", "metaspace-prepend"], TOKENIZERS))
def test_ids_and_regions_of_real_rows(name: str, prepared: Get, real_records: list[Record]) -> None:
    """Real rows have the ids of their whole text, and every token its anchor's region."""
    for sample in prepared(name).build(real_records):
        if not spells_special(sample):
            check_ids(sample)
        check_regions(sample)


@EVERY_TOKENIZER
def test_special_tokens_spelled_in_the_data_stay_text(name: str, prepared: Get) -> None:
    """Special ids stand where the template sets them and nowhere else, and the tokens spell the data as it is."""
    ready = prepared(name)
    spelled = " ".join(ready.vocabulary.special.values()) + "".join(ready.vocabulary.special.values())
    code = f'x = "{spelled}"\n# {spelled}\nf({spelled})'
    for record_ in (record(code, spelled, spelled), record(code, f"a{spelled}\n", f"\n{spelled}b"), record(code)):
        sample = ready.build([record_])[0]
        intervals = ready.vocabulary.intervals(sample.ids, sample.sequence.text)
        pairs = zip(intervals, sample.ids, strict=True)
        found = [(start, i) for (start, _), i in pairs if i in ready.vocabulary.special]
        assert found == [(start, i) for start, i in sample.sequence.special if i in ready.vocabulary.special]
        check_regions(sample)
        code_ids = [i for i, region in zip(sample.ids, region_of_tokens(sample.sample), strict=True) if region == CODE]
        assert sample.sequence.text.count(spelled.encode()) >= 3
        if ready.vocabulary.is_byte_level:
            assert spelled.encode() in ready.codec.decode(code_ids)


@EVERY_TOKENIZER
def test_decoded_ids_are_the_text(name: str, built: Callable[[str], list[Built]]) -> None:
    """The ids decode to the text they were made from: exactly for byte-level vocabularies, else but for set spaces."""
    for sample in built(name):
        decoded = sample.prepared.codec.decode(sample.ids)
        if sample.prepared.vocabulary.is_byte_level:
            assert decoded == sample.sequence.text, sample
        elif "▁" not in sample.record.code:
            assert decoded.replace(b" ", b"") == sample.sequence.text.replace(b" ", b""), sample


UNICODE = st.lists(
    st.sampled_from(["x", " ", "  ", "\n", "\n\n", "\t", "\r", "é", "e\u0301", "🙂", "```", "'s", "1", "日", "\u00a0", "<s>"])
    | st.characters(blacklist_categories=["Cs"], blacklist_characters="\0▁"),
    max_size=20,
).map("".join)


@settings(max_examples=40, deadline=None)
@given(prompt=UNICODE, reasoning=UNICODE, code=UNICODE)
@pytest.mark.parametrize("name", ["qwen", "trained", "metaspace", "metaspace-nfc"])
def test_any_text_at_any_seam(prompt: str, reasoning: str, code: str, name: str, prepared: Get) -> None:
    """Whatever stands at the seams of prompt, reasoning and code: ids of the whole, regions and spans by definition."""
    assume(code.strip())
    sample = prepared(name).build([record(code, prompt, reasoning)])[0]
    if not spells_special(sample):
        check_ids(sample)
    check_regions(sample)
    spans = sample.sample.spans
    assert list(zip(spans.start.tolist(), spans.end.tolist(), strict=True)) == [span.tokens for span in sample.tree.spans]


def test_batch_is_its_records_alone(prepared: Get) -> None:
    """A sample does not depend on the records beside it."""
    ready, some = prepared("trained"), records()
    for together, alone in zip(ready.build(some), (ready.build([chosen])[0] for chosen in some), strict=True):
        assert together.ids == alone.ids
        assert together.sample.role.tolist() == alone.sample.role.tolist()
        assert together.sample.spans.start.tolist() == alone.sample.spans.start.tolist()


# --------------------------------------------------------------------------------------------------------------- trimming

LINES = "\n".join(f"Step {i}: naïve é, 🙂 or 日本語 {i * 7919}…" for i in range(100))
ONE_LINE = "🙂🏳️‍🌈日本語한국어ñ é́" * 100
REASONINGS = {
    "lines": LINES,
    "one line of split characters": ONE_LINE,
    "blank lines": "\n\n\n".join("x" * (i % 7) for i in range(300)),
    "tags inside": "<think>\n</think>\n" * 100 + LINES,
    "spaces": " " * 3000 + "x",
    "crlf": LINES.replace("\n", "\r\n"),
}


@EVERY_TOKENIZER
@pytest.mark.parametrize("kind", REASONINGS)
def test_trimming_cuts_reasoning_alone(kind: str, name: str, prepared: Get) -> None:
    """Trimmed samples fit, lose one stretch inside the reasoning's tags, and are otherwise what they were."""
    ready = prepared(name)
    chosen = record(PROGRAMS["statements"][1], reasoning=REASONINGS[kind])
    whole = ready.build([chosen])[0]
    regions = region_of_tokens(whole.sample)
    num_reasoning = regions.count(REASONING)
    first, last = regions.index(REASONING), len(regions) - regions[::-1].index(REASONING)
    assert last - first == num_reasoning
    num_trimmed = 0
    for excess in (1, 2, 3, num_reasoning // 3, num_reasoning // 2, num_reasoning - 60, num_reasoning - 8):
        if excess < 1:
            continue
        max_length = len(whole.ids) - excess
        sample = make_samples([chosen], ready.codec, ready.template, max_length, "trim-reasoning")[0]
        if isinstance(sample, RowError):
            assert sample.reason == "too-long"
            assert excess > num_reasoning // 2 or num_reasoning < 100, excess
            continue
        num_trimmed += 1
        check_trimmed(whole, sample, max_length, (first, last))
    assert num_trimmed >= 3 or num_reasoning < 100


def check_trimmed(whole: Built, sample: Sample, max_length: int, reasoning: tuple[int, int]) -> None:
    ids, removed = sample.input_ids.tolist(), len(whole.ids) - len(sample.input_ids)
    assert len(ids) <= max_length
    assert sample.truncated
    same = next((i for i, (a, b) in enumerate(zip(ids, whole.ids, strict=False)) if a != b), len(ids))
    cut = min(same, reasoning[1] - removed)
    assert cut >= reasoning[0]
    assert ids == whole.ids[:cut] + whole.ids[cut + removed :], "what is left is the whole but for a stretch of reasoning"
    regions = region_of_tokens(whole.sample)
    assert region_of_tokens(sample) == regions[:cut] + regions[cut + removed :]
    spelled = whole.prepared.vocabulary.spelled
    tagged = spelled(ids[reasoning[0] : reasoning[1] - removed]).decode()  # raises where a character was cut
    assert re.match(r"\s*<think>\n", tagged)
    assert re.search(r"\n</think>\s*(```)?(python)?\s*$", tagged)
    assert whole.record.code.rstrip() in spelled(ids).decode()
    spans = sample.spans
    found = list(zip(spans.start.tolist(), spans.end.tolist(), spans.parent.tolist(), strict=True))
    assert found == [(s.tokens[0] - removed, s.tokens[1] - removed, s.parent) for s in whole.tree.spans]
    assert sample.role.tolist() == whole.sample.role.tolist()
    assert sample.leaf_kind.tolist() == whole.sample.leaf_kind.tolist()


def test_dropped_where_it_does_not_fit(prepared: Get) -> None:
    """A sample one token too long is dropped by default, with its reason; one that just fits is whole."""
    ready, chosen = prepared("trained"), record("x = f(1)", reasoning=LINES)
    length = len(ready.build([chosen])[0].ids)
    short = make_samples([chosen], ready.codec, ready.template, length - 1, "drop")[0]
    assert isinstance(short, RowError)
    assert short.reason == "too-long"
    for overlength in ("drop", "trim-reasoning"):
        fits = make_samples([chosen], ready.codec, ready.template, length, overlength)[0]
        assert isinstance(fits, Sample)
        assert not fits.truncated
        assert len(fits.input_ids) == length


def test_prompt_and_code_are_never_cut(prepared: Get) -> None:
    """Where prompt or code alone are too long, trimming gives a reason and no sample."""
    ready = prepared("trained")
    for chosen in (record("x = f(1)\n" * 500), record("x = 1", prompt="word " * 5000), record("x = 1\n" * 500, reasoning="")):
        outcome = make_samples([chosen], ready.codec, ready.template, 600, "trim-reasoning")[0]
        assert isinstance(outcome, RowError)
        assert outcome.reason == "too-long"


# -------------------------------------------------------------------------------------- tokenizers that change their text


def byte_level_with(normalizer: Any, prepared: Get) -> Any:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(prepared("trained").folder / "tokenizer.json"))
    backend.normalizer = normalizer
    return backend


def metaspace_with(normalizer: Any, prepared: Get) -> Any:
    from tokenizers import normalizers

    backend = metaspace_tokenizer("metaspace")
    backend.normalizer = normalizers.Sequence([normalizer])
    return backend


def changers() -> dict[str, Any]:
    """Normalisers that change code, by name."""
    from tokenizers import Regex, normalizers

    return {
        "lower-casing": normalizers.Lowercase(),
        "white space collapsed": normalizers.Replace(Regex(r"\s+"), " "),
        "spaces collapsed": normalizers.Replace(Regex(" {2,}"), " "),
        "stripped accents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
        "bert": normalizers.BertNormalizer(),
        "line ends dropped": normalizers.Replace("\n", ""),
        "tabs made spaces": normalizers.Replace("\t", "    "),
        "stripped": normalizers.Strip(),
        "nmt": normalizers.Nmt(),
        "full-width quotes": normalizers.Replace('"', "“"),
        "nfkc then lower-casing": normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
    }


ALWAYS_REFUSED = ("lower-casing", "white space collapsed", "spaces collapsed", "stripped accents", "bert", "line ends dropped")
UNICODE_FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def aligned_or_refused(backend: Any, folder: Path) -> tuple[str, list[Built]]:
    """Builds the shorter crafted programs with a tokenizer: the samples, or at which door the tokenizer was refused."""
    raw = folder / "raw"
    save_backend(backend, raw)
    try:
        tokenizer = load_tokenizer(str(raw))
    except SyntaxdiffError:
        return "load_tokenizer", []
    save_tokenizer(tokenizer, folder / "whole")
    ready = Prepared(folder.name, folder / "whole")
    try:
        codec = Codec(ready.folder)
        template = read_template(tokenizer)
    except SyntaxdiffError:
        return "Codec", []
    built = []
    for chosen, outcome in zip(short_records(), make_samples(short_records(), codec, template, 10**6, "drop"), strict=True):
        if not isinstance(outcome, RowError):
            built.append(Built(ready, chosen, outcome))
    return "", built


def check_aligned(sample: Built) -> None:
    check_regions(sample)  # raises too where the tokens spell another text than the (normalised) record's
    spans = sample.sample.spans
    found = list(zip(spans.start.tolist(), spans.end.tolist(), strict=True))
    assert found == [span.tokens for span in sample.tree.spans], sample
    leaves = sample.tree.leaf_of_code_token
    assert sample.sample.role.tolist() == [0 if leaf is None else leaf.role for leaf in leaves], sample


@pytest.mark.parametrize("change", changers())
@pytest.mark.parametrize("make", [byte_level_with, metaspace_with])
def test_tokenizer_that_changes_code_is_refused(make: Callable[..., Any], change: str, tmp_path: Path, prepared: Get) -> None:
    """A tokenizer that changes code is refused, or what it changes is; what it gives is aligned: never silently off."""
    refused, built = aligned_or_refused(make(changers()[change], prepared), tmp_path)
    if change in ALWAYS_REFUSED:
        assert refused
    for sample in built:
        check_aligned(sample)


@pytest.mark.parametrize("form", UNICODE_FORMS)
@pytest.mark.parametrize("make", [byte_level_with, metaspace_with])
def test_unicode_form_is_applied_first_or_refused(make: Callable[..., Any], form: str, tmp_path: Path, prepared: Get) -> None:
    """A tokenizer with a Unicode form has it applied to text before parsing and tokenising, or is refused."""
    import unicodedata

    from tokenizers import normalizers

    refused, built = aligned_or_refused(make(getattr(normalizers, form)(), prepared), tmp_path)
    if form == "NFC":
        assert not refused
        assert len(built) >= len(short_records()) - 2
    for sample in built:
        check_aligned(sample)
        assert sample.code.decode() == unicodedata.normalize(form, sample.record.code) + "\n"  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
@pytest.mark.parametrize("split", [True, False])
def test_every_metaspace_is_aligned(scheme: str, split: bool, tmp_path: Path) -> None:
    """However a metaspace pre-tokenizer sets its spaces, it is refused or samples have ids, regions and spans by definition."""
    from tokenizers import decoders, pre_tokenizers

    backend = metaspace_tokenizer("metaspace")
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme), decoders.Fuse()])
    refused, built = aligned_or_refused(backend, tmp_path)
    assert not refused
    assert len(built) >= len(short_records()) - 2
    for sample in built:
        check_aligned(sample)
        if not spells_special(sample):
            check_ids(sample)


@pytest.mark.parametrize("scheme", ["first", "never"])
def test_sequence_that_starts_with_text_is_aligned(scheme: str, tmp_path: Path) -> None:
    """Where no special token opens the sequence, the space set before its first word is no byte of the text."""
    from tokenizers import pre_tokenizers

    backend = metaspace_tokenizer("metaspace")
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    save_backend(backend, tmp_path / "raw")
    tokenizer = load_tokenizer(str(tmp_path / "raw"))
    tokenizer.chat_template = CHAT_WITH_SPECIAL_TOKENS.removeprefix("{{ bos_token }}")
    save_tokenizer(tokenizer, tmp_path / "whole")
    ready = Prepared("text-first", tmp_path / "whole")
    for sample in ready.build(short_records()):
        check_aligned(sample)
        if not spells_special(sample):
            check_ids(sample)


def test_prefix_space_of_byte_level_is_aligned_or_refused(tmp_path: Path, prepared: Get) -> None:
    """A byte-level tokenizer that sets a space before its text is refused, or aligned with the space left out."""
    from tokenizers import Tokenizer, pre_tokenizers

    backend = Tokenizer.from_file(str(prepared("trained").folder / "tokenizer.json"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    refused, built = aligned_or_refused(backend, tmp_path)
    assert refused or not built or all(np.array_equal(s.sample.region_end[-1:], [len(s.ids)]) for s in built)
    for sample in built:
        check_aligned(sample)


@pytest.mark.parametrize("side", ["lstrip", "rstrip"])
def test_special_tokens_that_take_white_space(side: str, tmp_path: Path, prepared: Get) -> None:
    """Special tokens that swallow the white space beside them are refused, or ids are those of the whole text."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    names = {"bos_token": "<s>", "eos_token": "</s>"}
    taking = {role: AddedToken(text, special=True, **{side: True}) for role, text in names.items()}
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=metaspace_tokenizer("metaspace-prepend"), unk_token="<unk>", **taking
    )
    tokenizer.chat_template = (
        "{% for message in messages %}{{ '<s> ' + message['role'] + '\n' + message['content'] + '\n</s>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<s> assistant\n' }}{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path / "raw")
    try:
        save_tokenizer(load_tokenizer(str(tmp_path / "raw")), tmp_path / "whole")
        ready = Prepared(side, tmp_path / "whole")
        samples = ready.build([record("x = f(1)\nif x:\n    y = 2")])
    except SyntaxdiffError:
        return
    for sample in samples:
        check_ids(sample)


def test_vocabulary_of_reference_reads_the_text(prepared: Get) -> None:
    """The tests' own reading of ids refuses ids that spell another text: it can fail."""
    for name in ("trained", "metaspace"):
        ready = prepared(name)
        vocabulary = Vocabulary(ready.folder)
        ids = ready.hf.encode("def f(x):", add_special_tokens=False).ids
        assert vocabulary.intervals(ids, b"def f(x):")[-1][1] == 9
        for wrong in (b"def g(x):", b"def f(x): ", b"def f(x)", b"  def f(x):"):
            with pytest.raises((AssertionError, IndexError)):
                vocabulary.intervals(ids, wrong)
