"""The app as it is, under the stand-in for the Durable host, over a whole site of stand-ins and emulators."""

from tests.integration.databases.conftest import bench, landing, sql_server
from tests.integration.secrets.conftest import site

__all__ = ["bench", "landing", "site", "sql_server"]
