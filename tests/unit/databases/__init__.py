"""Tests of what Lifeboat does with SQL Server, without a server."""
