"""The database: schema, physical layouts, and every query that another room runs.

Every function takes an open psycopg connection first and leaves the transaction to its caller
unless its docstring says otherwise. All times are aware datetimes in UTC.
"""
