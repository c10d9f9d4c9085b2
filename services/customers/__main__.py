"""`python -m services.customers` runs the service; `health` and `migrate` are its other words."""

from services.customers.app import service
from shared.process import main

main(service)
