"""``syntaxdiff.json`` of an exported model, as far as evaluation uses it."""

from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.json_records import RecordError, from_json
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import TokenIds
from syntaxdiff.train.model.export import INFO, read_info


@dataclass(frozen=True, kw_only=True)
class ExportInfo:
    """The settings and the origin of an export.

    Attributes:
        token_ids: special ids of its training data
        shift: position i - 1 predicts token i
        step: optimizer step of the weights
        programs_alone: share of the training samples that have neither problem nor reasoning; None in older exports
    """

    token_ids: TokenIds
    shift: bool = False
    step: int | None = None
    programs_alone: float | None = None


def read_export_info(folder: Path) -> ExportInfo:
    """Reads the file of an export's folder. Raises SettingsError where it is damaged, or lacks the special ids."""
    try:
        return from_json(ExportInfo, read_info(folder), skips_unknown=True)
    except RecordError as error:
        raise SettingsError(f"{folder / INFO} cannot be used ({error}): export the model again") from error
