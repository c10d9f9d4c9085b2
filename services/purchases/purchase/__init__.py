"""Orders and the money of them: recording, contacts, anonymizing, and everything about one."""
