"""Making arrays, and moving values about in them: no arithmetic."""
