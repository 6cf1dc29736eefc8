"""The experiments of the lecture notes, a file each."""
