"""Numbers that stand up: from a predictions table alone, whoever made it."""
