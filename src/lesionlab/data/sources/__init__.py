"""One file a data set: what it is, how it is read, what must never be an input."""
