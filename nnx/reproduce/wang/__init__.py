"""The experiments of Wang's chapter, a file each."""
