"""From files on disk to a leak-proof data set, and from there to batches."""
