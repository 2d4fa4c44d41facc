"""Where a study's programs come from on this machine: files, installed packages, rows whose fields prep does not recognise."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

from syntaxdiff.eval.study.declaration import PACKAGE, Source, Study
from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.jsonlines import read_json_lines
from syntaxdiff.pipeline.shard import storage_errors, write_text


def usable_sources(declared: Study, folder: Path, on_note: Callable[[str], None] = lambda text: None) -> list[str]:
    """The sources as ``--src`` of prep takes them; rows under other names are put into a file under prep's own.

    Args:
        folder: of such files
        on_note: called with what is left out

    Raises:
        SourceError: a source that is not optional is absent, or does not hold the rows that were declared
        StorageError: the disk refused
    """
    found = []
    for source in declared.data.sources:
        path = _place(source)
        if path is None:
            if not source.is_optional:
                raise SourceError(f"{source.src} is not there, and study {declared.name} needs it")
            on_note(f"{source.src} is not there: the study goes on without it, and its figures are others than with it")
        elif source.prompt_field is None:
            found.append(path)
        else:
            renamed = folder / f"{Path(path).name.split('.')[0]}.jsonl"
            _rename(Path(path), source, renamed)
            found.append(str(renamed))
    return found


def _place(source: Source) -> str | None:
    """Where a source is, None where it is absent."""
    if source.src.startswith(PACKAGE):
        spec = importlib.util.find_spec(source.src.removeprefix(PACKAGE))
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        return f"python:{folders[0]}" if folders else None
    is_path = source.src.startswith((".", "/")) or source.src.endswith((".jsonl", ".json", ".gz", ".parquet"))
    return None if is_path and not Path(source.src).exists() else source.src


def _rename(path: Path, source: Source, renamed: Path) -> None:
    """A file of rows as chats of one turn, which prep reads."""
    lines = []
    assert source.prompt_field is not None  # Source
    assert source.response_field is not None
    for place, row in read_json_lines(path, what="a row of JSON", advice="the study expects other rows"):
        try:
            turns = (("user", row[source.prompt_field]), ("assistant", row[source.response_field]))
        except KeyError as error:
            raise SourceError(f"{path}, {place}, has no field {error}: the study expects other rows") from error
        lines.append(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}) + "\n")
    with storage_errors(renamed):
        renamed.parent.mkdir(parents=True, exist_ok=True)
    write_text(renamed, "".join(lines))
