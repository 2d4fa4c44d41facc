"""Everything that some folders hold about models as one HTML file: a chapter per kind of result, charts, denoising replayed.

findings.py reads the folders, report.html holds layout and colours, charts.py draws with them. Nothing is measured here.
"""
