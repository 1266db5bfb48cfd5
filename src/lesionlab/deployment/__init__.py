"""One bundle, the same answer everywhere. Needs no torch to predict."""
