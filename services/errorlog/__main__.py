"""`python -m services.errorlog` runs the service; `health` and `migrate` are its other words."""

from services.errorlog.app import service
from shared.process import main

main(service)
