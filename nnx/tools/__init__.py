"""What a careful person wants beside training: comparisons, checks, a doctor."""
