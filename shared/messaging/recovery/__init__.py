"""Where a message goes that could not be handled, and how an outage is waited for."""
