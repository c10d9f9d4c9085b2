"""`python -m services.notifications` runs the service; `health` and `migrate` are its other words."""

from services.notifications.app import service
from shared.process import main

main(service)
