"""The experiments of Liu's text, a file each."""
