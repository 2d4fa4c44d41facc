"""The outcome of a study as tables, for docs/study.md, the terminal and the page. Every figure is one of ``study.json``.

Read ``tables`` first. A cell is a mean over seeds with its interval; a difference is the arm's less the reference's, seed by
seed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as TerminalTable

from syntaxdiff.eval.benchmarks.score import first_problems
from syntaxdiff.eval.stats import Mean
from syntaxdiff.eval.study.declaration import START
from syntaxdiff.eval.study.measures import LEAST_SPANS, LOWER_IS_BETTER, is_better, is_certain
from syntaxdiff.eval.study.outcome import StudyResults

GROUPS = {"kind": "node kind", "depth": "depth"}
GROUPS_SHOWN = 12
NAMES = {"humaneval": "HumanEval", "mbpp": "MBPP"}
BETTER, WORSE, OPEN, UNTOLD = "better", "worse", "not shown", "one seed"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a head; ``remark`` says how to read them."""

    title: str
    remark: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the paper claims, and a measure of it here.

    Attributes:
        measure: a name of measures.py; ``RATE`` stands for the middle mask rate
    """

    claim: str
    says: str
    measure: str


CLAIMS = (
    Claim(claim="syntactic correctness", says="programs written for HumanEval that parse", measure="humaneval/parses"),
    Claim(
        claim="syntactic correctness",
        says="programs that parse once their masks are restored, tokens masked",
        measure="reconstruct/random/RATE/parses",
    ),
    Claim(
        claim="syntactic correctness",
        says="programs that parse once their masks are restored, subtrees masked",
        measure="reconstruct/ast-span/RATE/parses",
    ),
    Claim(
        claim="reconstruction",
        says="masked tokens restored, tokens masked",
        measure="reconstruct/random/RATE/token_accuracy",
    ),
    Claim(
        claim="reconstruction",
        says="masked tokens restored, subtrees masked",
        measure="reconstruct/ast-span/RATE/token_accuracy",
    ),
    Claim(
        claim="reconstruction",
        says="restored programs with an equal syntax tree, subtrees masked",
        measure="reconstruct/ast-span/RATE/equal_trees",
    ),
    Claim(
        claim="unseen patterns",
        says="masked tokens restored in programs with an unseen shape, tokens masked",
        measure="reconstruct/random/RATE/unseen/token_accuracy",
    ),
    Claim(
        claim="unseen patterns",
        says="masked tokens restored in programs with an unseen shape, subtrees masked",
        measure="reconstruct/ast-span/RATE/unseen/token_accuracy",
    ),
    Claim(
        claim="unseen patterns",
        says="masked subtrees of an unseen shape restored exactly, subtrees masked",
        measure="reconstruct/ast-span/RATE/unseen/spans",
    ),
    Claim(claim="solved problems", says="pass@1 on HumanEval", measure="humaneval/pass_at_1"),
    Claim(claim="solved problems", says="pass@1 on MBPP", measure="mbpp/pass_at_1"),
    Claim(claim="none of the paper's: the yardstick", says="validation loss under uniform masks, nats", measure="loss/random"),
)


def mask_rates(results: StudyResults) -> list[float]:
    """The mask rates at which programs were restored."""
    names = next(iter(results.arms.values())).means
    return sorted({float(name.split("/")[2]) for name in names if name.startswith("reconstruct/")})


def middle_rate(results: StudyResults) -> float:
    """The mask rate nearest to a half."""
    return min(mask_rates(results), key=lambda rate: (abs(rate - 0.5), rate))


def masks_restored(results: StudyResults) -> list[str]:
    """The strategies whose masks were restored."""
    names = next(iter(results.arms.values())).means
    return list(dict.fromkeys(name.split("/")[1] for name in names if name.startswith("reconstruct/")))


def tables(results: StudyResults) -> list[Table]:
    """All tables of a study, those that answer its question first."""
    return [
        claims_table(results),
        arms_table(results),
        losses_table(results),
        *restored_tables(results),
        *grouped_tables(results),
        *written_tables(results),
    ]


def claims_of(results: StudyResults) -> Iterator[tuple[Claim, str]]:
    """The claims that were measured, each with the name of its measure."""
    method = results.method.means
    for claim in CLAIMS:
        name = claim.measure.replace("RATE", f"{middle_rate(results):g}")
        if name in method:
            yield claim, name


def warnings_on(results: StudyResults, benchmark: str) -> list[str]:
    """The warnings of a benchmark's scores; where an older study kept none, what its declaration says."""
    evaluate = results.declared.evaluate
    options = (evaluate.humaneval if benchmark == "humaneval" else evaluate.mbpp) or {}
    limit = options.get("limit")
    return results.warnings.get(benchmark) or ([first_problems(limit)] if isinstance(limit, int) else [])


def named_warnings(results: StudyResults) -> list[str]:
    """The warnings of all benchmarks that were measured."""
    return [f"{NAMES[benchmark]}: {warning}" for benchmark in NAMES for warning in warnings_on(results, benchmark)]


def verdict(name: str, difference: Mean | None) -> str:
    """Whether a difference is for the better, for the worse, or not shown."""
    if difference is None:
        return ""
    certain = is_certain(difference)
    if certain is None:
        return UNTOLD
    return (BETTER if is_better(name, difference.value) else WORSE) if certain else OPEN


def claims_table(results: StudyResults) -> Table:
    """The method next to its references, claim by claim."""
    method, references = results.declared.method, results.declared.references
    differences = results.method.differences
    rows = []
    for claim, name in claims_of(results):
        cells = []
        for reference in references:
            difference = differences[reference].get(name)
            word = verdict(name, difference)
            cells.append(f"{word}: {difference_text(name, difference)}" if difference is not None else "")
        benchmark = name.partition("/")[0]
        count = results.counts.get(f"{benchmark}/parses")
        says = f"{claim.says} ({count} programs per model)" if benchmark in NAMES and count else claim.says
        rows.append((claim.claim, says, mean_text(name, results.method.means.get(name)), *cells))
    return Table(
        title=f"What the paper claims of {method}, and what was measured",
        remark=f"Differences of {method} from each reference, mean over seeds with an interval of 95 %; shares in percentage "
        f'points. "{OPEN}": the interval holds 0. Masks at rate {middle_rate(results):g}. The intervals say how far '
        f"training anew moves a figure, not how far other programs would; the {len(rows) * len(references)} comparisons are "
        "not corrected for their number." + "".join(f" {warning}" for warning in named_warnings(results)),
        head=("claim", "measure", method, *(f"less {reference}" for reference in references)),
        rows=rows,
    )


def arms_table(results: StudyResults) -> Table:
    """What the arms are, and how much they masked."""
    rows = []
    for name, arm in results.arms.items():
        runs = arm.runs
        corrupted = sum(run.corrupted_tokens for run in runs) / len(runs)
        rate = sum(run.mask_rate for run in runs) / len(runs)
        steps = sorted({run.steps for run in runs})
        steps_text = " to ".join(dict.fromkeys((f"{steps[0]:,}", f"{steps[-1]:,}")))
        amounts = ("", "", "") if name == START else (steps_text, f"{corrupted:,.0f}", f"{rate:.1%}")
        rows.append((name, arm.says, *amounts))
    return Table(
        title="Arms",
        remark="Corrupted tokens are what a run's loss was computed on, mean over seeds; the rate is their share of reasoning, "
        "code and scaffold.",
        head=("arm", "masks", "steps", "corrupted tokens", "mask rate"),
        rows=rows,
    )


def losses_table(results: StudyResults) -> Table:
    """Validation losses."""
    reference = results.declared.references[0]
    columns = (("uniform masks", "loss/random"), ("code alone", "loss/random/code"), ("its own masks", "loss/own"))
    rows = []
    for name, arm in results.arms.items():
        means = [mean_text(measure, arm.means.get(measure)) for _, measure in columns]
        difference = arm.differences.get(reference, {}).get("loss/random")
        rows.append((name, *means, difference_text("loss/random", difference)))
    unigram = results.data.unigram_nats
    known = ""
    if unigram is not None:  # the start's run measured it
        known = f"The unigram entropy, which a model reaches that knows token frequencies alone, is {unigram:.4f}. "
    return Table(
        title="Validation loss, nats a token (lower is better)",
        remark=f"{known}Losses under different masks cannot be compared with each other: subtrees are harder than tokens. Code "
        "alone is a plain mean over masked tokens, the others weigh by inverse rates.",
        head=("arm", *(title for title, _ in columns), f"uniform, less {reference}"),
        rows=rows,
    )


def restored_tables(results: StudyResults) -> Iterator[Table]:
    """What came back of masked programs, a table for each kind of masks."""
    columns = (
        ("tokens", "token_accuracy"),
        ("exact spans", "exact_spans"),
        ("equal trees", "equal_trees"),
        ("parse", "parses"),
        ("tokens, unseen shape", "unseen/token_accuracy"),
        ("spans of unseen shape", "unseen/spans"),
    )
    for masks in masks_restored(results):
        for rate in mask_rates(results):
            where = f"reconstruct/{masks}/{rate:g}"
            rows = [
                (name, *(mean_text(f"{where}/{measure}", arm.means.get(f"{where}/{measure}")) for _, measure in columns))
                for name, arm in results.arms.items()
            ]
            yield Table(
                title=f"Programs restored, masks of {masks} at rate {rate:g}",
                remark="Shares of masked tokens, of masked subtrees, and of programs.",
                head=("arm", *(title for title, _ in columns)),
                rows=rows,
            )


def groups_of(results: StudyResults, where: str) -> dict[str, int]:
    """The groups of subtrees with most of them, and how many: depths and lengths in their order, kinds by frequency."""
    ending = "/exact_spans"
    found = {
        name.removeprefix(f"{where}/").removesuffix(ending): count
        for name, count in results.counts.items()
        if name.startswith(f"{where}/") and name.endswith(ending)
    }
    most = dict(sorted(found.items(), key=lambda item: -item[1])[:GROUPS_SHOWN])
    numbered = {group: group.rstrip("+").partition("-")[0] for group in most}  # depths 3, lengths 4-7 and 64+
    if all(number.isdigit() for number in numbered.values()):
        return dict(sorted(most.items(), key=lambda item: int(numbered[item[0]])))
    return most


def grouped_tables(results: StudyResults) -> Iterator[Table]:
    """Tokens of masked subtrees restored, by node kind and by depth: the method and its references."""
    masks, rate = masks_restored(results)[-1], middle_rate(results)
    method, references = results.declared.method, results.declared.references
    for label, title in GROUPS.items():
        where = f"reconstruct/{masks}/{rate:g}/{label}"
        rows = []
        for group, count in groups_of(results, where).items():
            name = f"{where}/{group}/token_accuracy"
            means = [mean_text(name, results.arms[arm].means.get(name)) for arm in (method, *references)]
            difference = results.method.differences[references[0]].get(name)
            rows.append((group, f"{count:,}", *means, difference_text(name, difference)))
        if rows:
            yield Table(
                title=f"Tokens of masked subtrees restored, by {title}: masks of {masks} at rate {rate:g}",
                remark=f"Groups of at least {LEAST_SPANS} masked subtrees; at most {GROUPS_SHOWN}, those with most.",
                head=(title, "subtrees", method, *references, f"{method}, less {references[0]}"),
                rows=rows,
            )


def written_tables(results: StudyResults) -> Iterator[Table]:
    """What came of writing programs."""
    reference = results.declared.references[0]
    columns = (("parse", "parses"), ("compile", "compiles"), ("pass@1", "pass_at_1"))
    for benchmark in ("humaneval", "mbpp"):
        if f"{benchmark}/parses" not in results.method.means:
            continue
        count = results.counts[f"{benchmark}/parses"]
        rows = []
        for name, arm in results.arms.items():
            cells = [mean_text(f"{benchmark}/{measure}", arm.means.get(f"{benchmark}/{measure}")) for _, measure in columns]
            difference = arm.differences.get(reference, {}).get(f"{benchmark}/parses")
            rows.append((name, *cells, difference_text(f"{benchmark}/parses", difference)))
        yield Table(
            title=f"Programs written for {benchmark}",
            remark=" ".join((f"Of {count} programs per model.", *warnings_on(results, benchmark))),
            head=("arm", *(title for title, _ in columns), f"parse, less {reference}"),
            rows=rows,
        )


def is_share(name: str) -> bool:
    """Whether a measure is a share, to be shown in percent."""
    return not any(part in LOWER_IS_BETTER for part in name.split("/"))


def mean_text(name: str, mean: Mean | None) -> str:
    """A mean with its interval, as text."""
    if mean is None:
        return ""
    form = ".1%" if is_share(name) else ".3f"
    low, high = mean.low, mean.high
    if low is None or high is None:
        return f"{mean.value:{form}}"
    if is_share(name):
        low, high = max(0.0, low), min(1.0, high)
    return f"{mean.value:{form}} [{low:{form}}, {high:{form}}]"


def difference_text(name: str, difference: Mean | None) -> str:
    """A difference with its interval, signs shown; of shares in percentage points."""
    if difference is None:
        return ""
    scale, form = (100, "+.1f") if is_share(name) else (1, "+.3f")
    known = [scale * number + 0.0 for number in (difference.value, difference.low, difference.high) if number is not None]
    value, *interval = (f"{number:{form}}" for number in known)
    return f"{value} [{', '.join(interval)}]" if interval else value


def markdown(results: StudyResults) -> str:
    """All tables as Markdown, as docs/study.md has them."""
    parts = []
    for table in tables(results):
        lines = [f"**{table.title}**", "", table.remark, "", f"| {' | '.join(table.head)} |", "|---" * len(table.head) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in table.rows]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def print_study(results: StudyResults, console: Console) -> None:
    """The claims, arms and losses in the terminal; the rest is in the page."""
    for table in (claims_table(results), arms_table(results), losses_table(results)):
        drawn = TerminalTable(*table.head, title=table.title, caption=table.remark)
        drawn.title_justify = drawn.caption_justify = "left"
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
