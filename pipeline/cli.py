"""The command ``syntaxdiff-prep``: which commands there are, and in which module each one is."""

import click

from syntaxdiff.pipeline.command_line import LazyGroup

COMMANDS = {
    "build": ("syntaxdiff.pipeline.command:build", "Build shards from rows."),
    "stats": ("syntaxdiff.pipeline.inspection.command:stats", "Tables and a picture of what shards hold."),
    "show": ("syntaxdiff.pipeline.inspection.command:show", "One sample with its regions and spans."),
    "verify": ("syntaxdiff.pipeline.inspection.command:verify", "Check every column of every sample."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
@click.version_option(package_name="syntaxdiff")
def main() -> None:
    """Turn rows of problems, reasoning and programs into shards for syntax-aware masked diffusion.

    \b
    syntaxdiff-prep build --src stdlib --tokenizer train:4096 --out data/
    syntaxdiff-prep stats data/
    syntaxdiff-prep show data/ --index 3
    syntaxdiff-prep verify data/
    """


if __name__ == "__main__":
    main()
