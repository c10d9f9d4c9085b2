"""Load tests: messages at planned times, what became of each, and a report. `./dev load --help`."""
