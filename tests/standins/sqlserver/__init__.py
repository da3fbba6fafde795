"""A stand-in for SQL Server: real TDS, real queries, real backups, and the engine's documented behaviour around them.

Use ``running_sql_server``. It stands in where no SQL Server can be had; the same tests must be able to run against a
real one. Its limits:

- Accepts blob URLs of an emulator (``http://127.0.0.1:PORT/account/container/blob``), which SQL Server refuses.
- Backups are in a format of its own (``media.py``): no SQL Server reads them, nor does it read SQL Server's.
- A database's content is a small SQLite database; T-SQL is what sqlglot turns into SQLite: tables, SELECT, INSERT,
  UPDATE, DELETE. No temporary tables, views, procedures, cursors, TRY/CATCH or dynamic management beyond
  ``views.json``; of what a view has, columns that no builder in ``views.py`` knows are NULL (bits 0).
- The first error ends a batch; SQL Server goes on after most.
- No isolation: a change is seen before it is committed, and a log backup may hold it; a rollback takes it back.
- Under BULK_LOGGED every INSERT counts as bulk-logged. Incremental parts are whole: a differential holds the content.
- A fixed offset is its time zone, until a test sets another one: no daylight-saving time of its own.
- Changes of users and rights are in no log: a restore brings users back as of the last full or differential backup.
  GRANT and roles act on the login that a user is mapped to, in the databases where it is named; there is no DENY.
- Data that is there to make a backup large (``filler_bytes``) is not in any table.
- Where the documentation is silent on an error's number (options that a URL does not take, editions without URL), the
  number is a guess; the refusal is not.
- ``sa`` cannot log in: tests add their own logins. Nor can contained users: their passwords are kept nowhere.
"""

from tests.standins.sqlserver.availability import AvailabilityGroup
from tests.standins.sqlserver.messages import SqlError
from tests.standins.sqlserver.model import BackupSet, Database, Login
from tests.standins.sqlserver.server import SqlServer, running_sql_server

__all__ = ["AvailabilityGroup", "BackupSet", "Database", "Login", "SqlError", "SqlServer", "running_sql_server"]
