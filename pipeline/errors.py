"""Every error that a user of syntaxdiff can meet.

    SyntaxdiffError
    ├── SettingsError     what was asked for cannot be: unknown names, options that contradict, a folder built otherwise
    ├── SourceError       a source cannot be found, read, or understood
    ├── TokenizerError    a tokenizer cannot be loaded, or cannot be aligned with text
    ├── ShardError        shards are missing, incomplete, damaged, or of another schema
    ├── StorageError      the disk refused: full, read-only, too many files
    └── RowError          one row cannot become a sample; counted with its reason, never fatal

The command lines catch SyntaxdiffError once, print its one line, and exit with 2.
"""


class SyntaxdiffError(Exception):
    """Base of the family: one line that says what is wrong and what to do."""


class SettingsError(SyntaxdiffError):
    """What was asked for cannot be done as asked."""


class SourceError(SyntaxdiffError):
    """A source cannot be found, read, or understood."""


class TokenizerError(SyntaxdiffError):
    """A tokenizer cannot be loaded, or changes text in a way that alignment cannot follow."""


class ShardError(SyntaxdiffError):
    """Shards are missing, incomplete, damaged, or of another schema version."""


class StorageError(SyntaxdiffError):
    """The disk refused to take or to give bytes."""


class RowError(SyntaxdiffError):
    """One row cannot become a sample.

    Attributes:
        reason: a short stable name, counted in the manifest (``too-long``, ``no-code``, …)
        detail: what a person needs to find the fault
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["RowError"], tuple[str, str]]:
        return RowError, (self.reason, self.detail)
