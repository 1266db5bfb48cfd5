"""What the network looks at, and whether the picture can be believed."""
