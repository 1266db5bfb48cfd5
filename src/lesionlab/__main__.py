"""`python -m lesionlab` is the command `lesionlab` (torchrun needs a module)."""

from lesionlab.cli.main import main

main()
