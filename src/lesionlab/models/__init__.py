"""Networks by name, their heads, their block groups from stem to head."""
