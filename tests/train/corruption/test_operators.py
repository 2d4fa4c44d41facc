"""What happens to corrupted units against the literal definitions in operators_reference.py, and the tables of leaves."""

import hashlib
import itertools
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import any_kinds, programs, write_jsonl
from hypothesis import example, given
from hypothesis import strategies as st
from operators_reference import (
    IDS,
    LANGUAGES,
    MASK,
    PAD,
    PROMPT,
    REASONING,
    TABLES,
    Drawn,
    Program,
    Span,
    assert_operated,
    corrupted,
    is_whole,
    leaves_of_language,
    operated,
    program_of,
    random_draws,
    random_program,
    row_of,
)
from prepared_tokenizers import Prepared

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.rows.record import Record
from syntaxdiff.pipeline.shard import LanguageKinds, Manifest, SampleRow, iter_shard, read_manifest
from syntaxdiff.train.corruption.config import SPAN_STRATEGIES, STRATEGIES, CorruptionConfig, OperatorShares
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import Operator, is_whole_leaf
from syntaxdiff.train.data.batch import collate

PUNCTUATED = "for action in self._actions:\n    show(option_strings, action.option_strings, r'x')\n"
SHARES = {
    "none": OperatorShares(),
    "drop": OperatorShares(drop=1.0),
    "shuffle": OperatorShares(shuffle=1.0),
    "relabel": OperatorShares(relabel=1.0),
    "placeholder": OperatorShares(placeholder=1.0),
    "half": OperatorShares(shuffle=0.5),
    "some": OperatorShares(drop=0.1, shuffle=0.2, relabel=0.3, placeholder=0.2),
    "all": OperatorShares(drop=0.25, shuffle=0.25, relabel=0.25, placeholder=0.25),
}


# ----------------------------------------------------------------------------------------------- one unit, one operator


@pytest.mark.parametrize("name", SHARES)
def test_units_become_what_the_definition_says(name: str) -> None:
    """Random units of random nested families become an outcome of their operator, or masks; all else stays."""
    borne: Counter[Operator] = Counter()
    for seed in range(40):
        dice = random.Random(seed)
        drawn = [(program, random_draws(program, dice)) for program in (random_program(dice) for _ in range(32))]
        names = [dice.choice(LANGUAGES) for _ in drawn]
        results = operated(drawn, SHARES[name], dice.getrandbits(63), names)
        for (program, random_draw), language, (ids, operators) in zip(drawn, names, results, strict=True):
            leaves = leaves_of_language(TABLES, LANGUAGES.index(language))
            borne.update(assert_operated(program, random_draw, SHARES[name], leaves, ids, operators))
    wanted = {Operator[share.upper()] for share, value in vars(SHARES[name]).items() if value}
    assert set(borne) - {Operator.MASK} == wanted
    assert all(borne[operator] > 30 for operator in wanted), "the programs give every operator something to do"


def test_shuffled_subtrees_move_whole() -> None:
    """Each subtree ends in one piece, at its old place in its parent unless a sibling has its length: then at another."""
    moved = 0
    for seed in range(60):
        dice = random.Random(seed)
        inner = random_program(dice)
        spans = [Span(span.start + 1, span.end + 1, span.parent + 1, span.kind, span.arity) for span in inner.spans]
        num_tokens = len(inner.ids) + 2
        program = Program(list(range(10, 10 + num_tokens)), [0] * num_tokens, [Span(0, num_tokens, -1, 1, 1), *spans])
        drawn = replace(random_draws(program, dice), unit_spans=[True] + [False] * len(spans), unit_tokens=[False] * num_tokens)
        ((ids, operators),) = operated([(program, drawn)], SHARES["shuffle"], 0)
        lengths = Counter((span.parent, span.end - span.start) for span in program.spans)
        if not any(count > 1 for count in lengths.values()):
            assert ids == [MASK] * num_tokens
            continue
        assert set(operators) == {Operator.SHUFFLE}
        starts: list[int] = []
        for span in program.spans:
            places = sorted(ids.index(token) for token in range(10 + span.start, 10 + span.end))
            assert places == list(range(places[0], places[0] + span.end - span.start))
            starts.append(places[0])
            if span.parent >= 0:
                was, now = span.start - program.spans[span.parent].start, places[0] - starts[span.parent]
                assert (was != now) == (lengths[span.parent, span.end - span.start] > 1)
                moved += was != now
    assert moved > 300


@given(
    st.lists(st.lists(st.sampled_from([0, 3, 4]), min_size=5, max_size=5), min_size=1, max_size=12), st.integers(0, 2**63 - 1)
)
@example([[3, 0, 4, 0, 3], [4, 0, 3, 0, 3]], 0)  # a x a y a
@example([[3, 4, 3, 4, 3], [4, 3, 4, 3, 4], [3, 3, 4, 4, 3]], 1)
def test_donors_are_the_other_contents(contents: list[list[int]], donor: int) -> None:
    """Of spans of one shape, each content becomes another one, all in one cycle; a content without another is masked."""
    spans = [Span(5 * number, 5 * number + 5, -1, 1, 2) for number in range(len(contents))]
    ids = list(itertools.chain(*contents))
    program = Program(ids, [0] * len(ids), spans)
    drawn = Drawn([True] * len(spans), [False] * len(ids), [0.5] * len(spans), [0.5] * len(ids), [0] * len(spans))
    ((out, operators),) = operated([(program, drawn)], SHARES["relabel"], donor)
    different = {tuple(content) for content in contents}
    if len(different) == 1:
        assert out == [MASK] * len(ids)
        assert set(operators) == {Operator.MASK}
        return
    becomes: dict[tuple[int, ...], tuple[int, ...]] = {}
    for span, content in zip(spans, contents, strict=True):
        got = tuple(out[span.start : span.end])
        assert becomes.setdefault(tuple(content), got) == got
    start, seen = next(iter(different)), set[tuple[int, ...]]()
    while start not in seen:
        seen.add(start)
        start = becomes[start]
    assert seen == different


def test_every_donor_is_taken_sometimes() -> None:
    """Over many draws a subtree, and a name, becomes each of the other contents of its shape or class."""
    program = Program(
        [3, 4, 5, 6, 7, 8, 50, 60, 51, 60, 52], [0] * 6 + [1, 6, 1, 6, 1], [Span(i, i + 2, -1, 1, 2) for i in (0, 2, 4)]
    )
    drawn = Drawn([True, False, False], [False] * 6 + [True] + [False] * 4, [0.5] * 3, [0.5] * 11, [0] * 3)
    taken = [operated([(program, drawn)], SHARES["relabel"], donor)[0][0] for donor in range(40)]
    assert {tuple(ids[:2]) for ids in taken} == {(5, 6), (7, 8)}
    assert {ids[6] for ids in taken} == {51, 52}


def test_one_name_becomes_one_other_name_everywhere() -> None:
    """A relabelled leaf is, wherever it stands alone in the sample, the same other leaf of its class; others stay out of it."""
    name, sign, number, anonymous = 1, 4, 2, 6  # classes of TABLES for python; 4 and 5 share one
    kinds = [name, anonymous, name, sign, name, anonymous, name, 5, number, anonymous, name, name]
    ids = [50, 60, 51, 70, 50, 60, 50, 71, 80, 61, 90, 91]
    drawn = Drawn([], [True] * 12, [], [0.5] * 12, [])
    ((out, operators),) = operated([(Program(ids, kinds, []), drawn)], SHARES["relabel"], 7)
    assert out == [51, MASK, 50, 71, 51, MASK, 51, 70, MASK, MASK, MASK, MASK]
    assert [Operator(o).name for o in operators] == ["MASK" if token == MASK else "RELABEL" for token in out]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_a_token_beside_a_leaf_of_its_kind_is_no_whole_leaf(kinds: list[int]) -> None:
    """A token is a whole leaf if it has a leaf, and neither neighbour's leaf is of the same kind."""
    program = Program([0] * len(kinds), kinds, [])
    expected = [is_whole(program, position) for position in range(len(kinds))]
    assert is_whole_leaf(torch.tensor([kinds]))[0].tolist() == expected


def test_a_whole_leaf_has_no_other_token(prepared: Callable[[str], Prepared]) -> None:
    """In the leaf of a token that is called whole lies no other token's anchor, also where punctuation and a name share one."""
    record = Record(prompt="p", reasoning="", code=PUNCTUATED, language="python", source="test", source_id="0", problem="0")
    (built,) = prepared("trained").build([record])
    start, end = built.sequence.code
    anchors = [anchor - start for anchor in built.anchors if start <= anchor < end]
    (whole,) = is_whole_leaf(torch.from_numpy(built.sample.leaf_kind.astype(np.int64))[None]).tolist()
    held = [
        sum(leaf.start_byte <= anchor < leaf.end_byte for anchor in anchors)
        for leaf, is_leaf in zip(built.tree.leaf_of_code_token, whole, strict=True)
        if is_leaf and leaf
    ]
    assert len(held) > 10
    assert set(held) == {1}


# ----------------------------------------------------------------------------------------------------------- whole batches


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("strategy", SPAN_STRATEGIES)
def test_operators_act_on_the_units_of_a_strategy(strategy: str, name: str) -> None:
    """The units are those that masking has; each bears one operator with its outcome; around the code only masks are set."""
    dice = random.Random(5)
    config = CorruptionConfig(strategy=strategy, operators=SHARES[name])
    for epoch in range(3):
        rows = [row_of(random_program(dice), f"{epoch}-{number}", dice.choice(LANGUAGES)) for number in range(24)]
        rates = [dice.choice([0.0, 0.1, 0.3, 0.6, 1.0]) for _ in rows]
        result, views = corrupted(rows, config, rates, epoch=epoch)
        masked, _ = corrupted(rows, replace(config, operators=OperatorShares()), rates, epoch=epoch)
        assert result.input_ids_BL.shape == masked.input_ids_BL.shape
        assert torch.equal(result.unit_BS, masked.unit_BS)
        assert torch.equal(result.operator_BL > 0, masked.operator_BL > 0)
        assert torch.equal(result.is_scored_BL, masked.is_scored_BL)
        assert torch.equal(result.weight_BL, masked.weight_BL)
        for number, (row, (program, drawn, ids, operators)) in enumerate(zip(rows, views, strict=True)):
            leaves = leaves_of_language(TABLES, LANGUAGES.index(row.language))
            assert_operated(program, drawn, SHARES[name], leaves, ids, operators)
            ids, operators = result.input_ids_BL[number].tolist(), result.operator_BL[number].tolist()
            code_end = PROMPT + REASONING + len(program.ids)
            around = [*range(PROMPT + REASONING), *range(code_end, len(ids))]
            clean = [*row.input_ids.tolist(), *[PAD] * (len(ids) - len(row.input_ids))]
            assert set(operators[:PROMPT] + operators[len(row.input_ids) :]) <= {Operator.NONE}
            assert all(operators[i] in (Operator.NONE, Operator.MASK) for i in around)
            assert all(ids[i] == (MASK if operators[i] else clean[i]) for i in around)


@pytest.mark.parametrize("strategy", SPAN_STRATEGIES)
def test_a_sample_does_not_depend_on_its_batch(strategy: str) -> None:
    """A sample corrupted by operators is the same alone, in a batch of 8 in any order, and padded wider."""
    dice = random.Random(8)
    config = CorruptionConfig(strategy=strategy, operators=SHARES["all"])
    for _ in range(4):
        rows = [row_of(random_program(dice, 20 + 20 * number), f"{number}", dice.choice(LANGUAGES)) for number in range(8)]
        order = dice.sample(range(8), 8)
        together, _ = corrupted([rows[number] for number in order], config, [0.5] * 8, pad_to_multiple=64)
        for place, number in enumerate(order):
            alone, _ = corrupted([rows[number]], config, [0.5])
            for random_draw, many in zip(alone, together, strict=True):
                width = random_draw.shape[1]
                assert torch.equal(random_draw[0], many[place, :width])


@pytest.mark.parametrize("strategy", SPAN_STRATEGIES)
def test_the_share_of_drop_is_the_configured_one(strategy: str) -> None:
    """Of the subtrees, and of the single whole leaves, the share of `drop` is dropped, within five standard deviations."""
    dice, share = random.Random(1), 0.3
    config = CorruptionConfig(strategy=strategy, operators=OperatorShares(drop=share, shuffle=0.2, relabel=0.2))
    dropped, counted = Counter[str](), Counter[str]()
    for epoch in range(12):
        rows = [row_of(random_program(dice), f"{number}") for number in range(64)]
        for program, drawn, _, operators in corrupted(rows, config, [0.3] * 64, epoch=epoch)[1]:
            first = [span.start for span, is_unit in zip(program.spans, drawn.unit_spans, strict=True) if is_unit]
            tokens = [i for i, is_unit in enumerate(drawn.unit_tokens) if is_unit and is_whole(program, i)]
            for what, places in (("subtree", first), ("leaf", tokens)):
                counted[what] += len(places)
                dropped[what] += sum(operators[place] == Operator.DROP for place in places)
    assert counted["subtree"] > 500
    for what, count in counted.items():
        assert abs(dropped[what] - share * count) <= 5 * (share * (1 - share) * count) ** 0.5, what


# ------------------------------------------------------------------------------------------------------ tables from shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of shards by name: `programs`, with some C++ among them, and `stdlib`."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp(name) / "data"
            source = "stdlib"
            if name == "programs":
                code = "#include <vector>\nbool f(std::vector<int> v, int n) { return v[n] < n + 1 && n - 2 <= v[0] || !n; }"
                cpp = [{"prompt": f"Give {n}.", "code": code.replace("2", str(n)), "language": "cpp"} for n in range(9)]
                source = str(write_jsonl(out.parent / "rows.jsonl", programs(40) + cpp))
            config = BuildConfig(src=(source,), tokenizer="train:600", out=out, workers=1, validation_size=4, limit=45)
            build_shards(replace(config, overlength="trim-reasoning", max_length=1200))
            made[name] = out
        return made[name]

    return get


def train_rows(folder: Path, manifest: Manifest) -> list[SampleRow]:
    return [row for shard in manifest.splits["train"] for row in iter_shard(folder, shard)]


@pytest.mark.parametrize("name", ["programs", "stdlib"])
def test_fillers_are_the_commonest_whole_leaves(shards: Callable[[str], Path], name: str) -> None:
    """The filler of a named kind is a commonest token among its whole leaves; signs, keywords and delimiters have none."""
    folder = shards(name)
    manifest = read_manifest(folder)
    tables = leaf_tables(folder, manifest)
    counts: dict[tuple[str, int], Counter[int]] = {}
    for row in train_rows(folder, manifest):
        program, _ = program_of(row)
        for position, (token, kind) in enumerate(zip(program.ids, program.leaf_kinds, strict=True)):
            if is_whole(program, position):
                counts.setdefault((row.language, kind), Counter())[token] += 1
    checked = []
    for index, language in enumerate(sorted(manifest.languages)):
        kinds = manifest.languages[language]
        fillers = tables.filler_GK[index].tolist()
        assert set(fillers[len(kinds.node_kinds) :]) <= {-1}
        for kind, (kind_name, is_named) in enumerate(zip(kinds.node_kinds, kinds.named, strict=True)):
            is_delimiter = kind_name.endswith(("_start", "_end")) or kind_name in ("escape_sequence", "line_continuation")
            counted = counts.get((language, kind)) if is_named and not is_delimiter else None
            if counted is None:
                assert fillers[kind] == -1, kind_name
            else:
                assert counted[fillers[kind]] == max(counted.values()), kind_name
                checked.append(kind_name)
    assert {"identifier", "integer"} <= set(checked)


def test_classes_of_signs_and_names(shards: Callable[[str], Path]) -> None:
    """Signs that can stand for each other share a class, brackets and `*` have none, and a named kind is its own."""
    folder = shards("programs")
    manifest = read_manifest(folder)
    tables = leaf_tables(folder, manifest)

    def class_of(language: str, kind: str, *, is_named: bool = False) -> int:
        kinds = manifest.languages[language]
        index = list(zip(kinds.node_kinds, kinds.named, strict=True)).index((kind, is_named))
        return int(tables.class_GK[sorted(manifest.languages).index(language), index])

    signs = [class_of("python", sign) for sign in ("+", "-", "//", "and", "<", "==")]
    assert signs[0] == signs[1] >= 0
    assert signs[2] == class_of("python", "%") >= 0
    assert signs[4] == signs[5] >= 0
    assert len({signs[0], signs[2], signs[3], signs[4]}) == 4
    assert class_of("python", "and") == class_of("python", "or")
    assert {class_of("python", sign) for sign in ("*", "/", "|", "&", "@", "(", "if", "=", "not", "in")} == {-1}
    assert {class_of("cpp", sign) for sign in ("<", ">", "*", "&", "&&", "->")} == {-1}
    assert class_of("cpp", "<=") == class_of("cpp", "==") >= 0
    for index, language in enumerate(sorted(manifest.languages)):
        kinds = manifest.languages[language]
        classes = tables.class_GK[index].tolist()
        assert classes[0] == -1
        members = Counter(classes)
        for kind, (name, is_named) in enumerate(zip(kinds.node_kinds, kinds.named, strict=True)):
            if is_named and name not in ("true", "false", "break_statement", "continue_statement"):
                assert classes[kind] == kind, name
                assert members[kind] == 1, name


def test_brackets_of_other_languages_have_no_class(shards: Callable[[str], Path]) -> None:
    """`<` and `>` stand for each other only where they are never brackets, whatever else the manifest lists."""
    folder = shards("programs")
    manifest = read_manifest(folder)
    signs = LanguageKinds(node_kinds=("", "<", ">", "==", "x"), named=(False, False, False, False, True), grammar="test")
    manifest = replace(
        manifest, languages={**manifest.languages, "go": signs, "java": signs, "rust": signs, "typescript": signs}
    )
    tables = leaf_tables(folder, manifest)
    for index, language in enumerate(sorted(manifest.languages)):
        none, less, more, equal, _ = tables.class_GK[index, :5].tolist()
        if manifest.languages[language] is signs:
            assert none == -1
            assert (less, more) == ((equal, equal) if language == "go" else (-1, -1))
            assert equal >= 0


@pytest.mark.slow
def test_tables_are_equal_in_every_process(shards: Callable[[str], Path]) -> None:
    """Two processes with different hash seeds read the same tables from a folder."""
    folder = shards("programs")
    script = (
        "import hashlib, sys; from pathlib import Path; from syntaxdiff.pipeline.shard import read_manifest;"
        "from syntaxdiff.train.corruption.leaves import leaf_tables; folder = Path(sys.argv[1]);"
        "print(*(hashlib.sha256(t.numpy().tobytes()).hexdigest() for t in leaf_tables(folder, read_manifest(folder))))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    command = [sys.executable, "-c", script, str(folder)]
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()
    tables = leaf_tables(folder, read_manifest(folder))
    assert other == [hashlib.sha256(table.numpy().tobytes()).hexdigest() for table in tables]


@pytest.mark.parametrize("strategy", SPAN_STRATEGIES)
def test_real_programs_become_what_the_definition_says(shards: Callable[[str], Path], strategy: str) -> None:
    """Programs of the standard library, with the tables learnt from their shards, are corrupted as defined."""
    folder = shards("stdlib")
    manifest = read_manifest(folder)
    tables, languages = leaf_tables(folder, manifest), sorted(manifest.languages)
    rows = [row for row in train_rows(folder, manifest) if len(row.leaf_kind)][:16]
    config = CorruptionConfig(strategy=strategy, operators=SHARES["all"])
    rates = np.linspace(0.1, 0.9, len(rows)).tolist()
    _, views = corrupted(
        rows, config, rates, tables=tables, languages=languages, ids=replace(manifest.token_ids, mask=1, pad=2)
    )
    borne: Counter[Operator] = Counter()
    for row, (program, drawn, ids, operators) in zip(rows, views, strict=True):
        leaves = leaves_of_language(tables, languages.index(row.language))
        borne.update(assert_operated(program, drawn, SHARES["all"], leaves, ids, operators))
    assert {Operator.MASK, Operator.DROP} <= set(borne)
    if strategy == "ast-cut":  # the others draw few subtrees besides the whole code
        assert set(borne) == set(Operator) - {Operator.NONE}


# ------------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("name", ["relabel", "placeholder"])
def test_relabel_and_placeholder_need_tables(name: str) -> None:
    """Without the tables of leaves the two operators that read them are refused by name; the others go on."""
    batch = collate([row_of(random_program(random.Random(0)), "a")], pad_id=PAD, languages=any_kinds(*LANGUAGES))
    for shares, is_refused in ((SHARES[name], True), (OperatorShares(drop=0.5, shuffle=0.5), False)):
        config = CorruptionConfig(operators=shares)
        planned = plan(batch, config, Noise.fixed(0.5, 1), seed=0, epoch=0)
        if is_refused:
            with pytest.raises(SettingsError, match=r"relabel and placeholder need the tables .*leaf_tables"):
                corrupt(batch.tensors, planned, config, IDS)
        else:
            corrupt(batch.tensors, planned, config, IDS)


@pytest.mark.parametrize("strategy", [strategy for strategy in STRATEGIES if strategy not in SPAN_STRATEGIES])
def test_operators_need_subtrees(strategy: str) -> None:
    """A strategy without subtrees refuses operators and names the strategies that have them; without operators it is fine."""
    CorruptionConfig(strategy=strategy)
    with pytest.raises(SettingsError, match=f"{strategy} has none, choose from ast-span, ast-span-independent, ast-cut$"):
        CorruptionConfig(strategy=strategy, operators=OperatorShares(drop=0.1))


@pytest.mark.parametrize(
    ("shares", "named"),
    [
        ({"drop": -0.1}, "drop -0.1"),
        ({"relabel": 1.5, "shuffle": -1.0}, "shuffle -1.0, relabel 1.5"),
        ({"placeholder": float("nan")}, "placeholder nan"),
        ({"drop": 0.6, "shuffle": 0.5}, "sum to at most 1, not 1.1: drop 0.6 . shuffle 0.5"),
    ],
)
def test_shares_are_checked(shares: dict[str, float], named: str) -> None:
    """Shares outside [0, 1], or that sum to more than 1, are refused with their names and values."""
    with pytest.raises(SettingsError, match=rf"^operator shares .*{named}"):
        OperatorShares(**shares)


@given(st.lists(st.integers(0, 20), min_size=4, max_size=4).filter(lambda parts: 0 < sum(parts) <= 20))
@example([4, 8, 6, 2])  # .2 + .4 + .3 + .1 is 1.0000000000000002 in float64
def test_shares_that_sum_to_one_are_taken(parts: list[int]) -> None:
    """Shares written with two decimals that sum to at most 1 are accepted, whatever float64 makes of their sum."""
    drop, shuffle, relabel, placeholder = (round(0.05 * part, 2) for part in parts)
    assert OperatorShares(drop=drop, shuffle=shuffle, relabel=relabel, placeholder=placeholder).are_used
