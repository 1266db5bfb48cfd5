"""What several test files share; `from helpers import ...` (pytest's pythonpath)."""
