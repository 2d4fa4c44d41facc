"""The comparison of the paper as one command: arms trained and evaluated, measured, and written as tables and a page."""
