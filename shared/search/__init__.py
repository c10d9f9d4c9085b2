"""The search kit: from what people type to a bounded walk through an index.

A service adds what is its own: what a keyword may mean (`KeywordRules`), where its terms are and in which order it
finds its records (`SearchIndex`), and the statement that shows them.
"""
