"""`python -m services.directory` runs the service; `import`, `export` and `announce` are words of its own."""

import sys

from services.directory import commands
from services.directory.app import service
from shared.process import main

if commands.WORDS.intersection(sys.argv[1:2]):
    sys.exit(commands.run(sys.argv[1:]))
main(service)
