"""What training makes small: cross-entropies, errors of regression, margins, divergences."""
