"""The pages: Dash on the platform's FastAPI application.

Pages read one snapshot that a background thread keeps fresh; no callback waits for the database.
No SQL and no indicator arithmetic here: figures come from `store`, problems from `supervision`.
"""
