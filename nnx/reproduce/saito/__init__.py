"""The experiments of the notes on Saito, a file each."""
