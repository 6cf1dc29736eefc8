"""The experiments of Xu Bin's textbook, a file each."""
