"""Staff and clients as every service knows them: copies of what the directory publishes, and the check of permissions.

A service keeps the copies with one line each in its `app.py`. Decision and limits: docs/adr/0004.
"""
