"""What the corruption does to one sample, drawn in the terminal, as an HTML page, or as SVG.

The masks are the trainer's own; draw.py only asks for them. Page and SVG have their markup in templates/.
"""
