"""What happened to a purchase, by whom, in which flow."""
