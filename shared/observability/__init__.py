"""What operators see of a service: logs, metrics, traces, health, and the documents about its messages."""
