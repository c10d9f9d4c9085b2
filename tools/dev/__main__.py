"""`python -m tools.dev`, which is what `./dev` runs once its virtual environment is there."""

from tools.dev.cli import main

main()
