"""The compiled loops of the families that stand alone, imported when a kernel first runs.

Each file has its family's name; what calls it, with layouts and fallbacks, stands in the folder
above.
"""
