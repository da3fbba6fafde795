"""Databases of SQL Server: connect, back up, verify, restore, drill; chains by LSN."""
