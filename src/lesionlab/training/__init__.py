"""Training that is exact, resumable at any step, and fast."""
