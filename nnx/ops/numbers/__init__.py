"""More functions of numbers: trigonometry, rounding, bits, and inverses."""
