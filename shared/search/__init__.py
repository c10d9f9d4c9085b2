"""The search kit: from what people type to a bounded walk through an index."""
