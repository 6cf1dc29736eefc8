"""Convolutions, and the layers that follow one."""
