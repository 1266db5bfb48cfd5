"""Reports, figures and cards that a person opens."""
