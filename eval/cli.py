"""The command ``syntaxdiff-eval``: parses, calls one library function, prints."""
