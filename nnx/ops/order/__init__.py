"""What depends on the order of numbers: running sums, sorting, searching, sets."""
