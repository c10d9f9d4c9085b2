"""`python -m deploy.local`, which is what `./dev` runs once its virtual environment is there."""

from deploy.local.cli import main

main()
