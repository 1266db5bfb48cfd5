"""The official scorers: what each challenge computes, from its own files, with its refusals."""
