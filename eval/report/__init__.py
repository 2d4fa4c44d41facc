"""Everything that some folders hold about models as one HTML file: a chapter per kind of result, charts, denoising replayed.

findings.py reads the folders; the chapters, charts.py and replay.py make the data that is shown; templates/ holds the markup,
with layout and colours in page.css. Nothing is measured here.
"""
