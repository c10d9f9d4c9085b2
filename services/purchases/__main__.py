"""`python -m services.purchases` runs the service; `health` and `migrate` are its other words."""

from services.purchases.app import service
from shared.process import main

main(service)
