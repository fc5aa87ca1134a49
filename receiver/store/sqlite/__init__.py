"""The store on one SQLite file: how it is opened, locked, upgraded, copied and written."""
