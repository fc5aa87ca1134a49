"""Runs one of the SQL scripts of this folder inside the caller's transaction."""

import sqlite3
from importlib.resources import files


def run_script(db: sqlite3.Connection, name: str) -> None:
    """Run it statement by statement: executescript would commit first, and half an upgrade is none."""
    statement = ""
    for line in files("receiver.store.sqlite").joinpath("migrations", name).read_text("utf-8").splitlines():
        statement += line.partition("--")[0] + "\n"
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""
