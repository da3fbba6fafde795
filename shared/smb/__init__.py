"""An SMB 2.1 to 3.1.1 client for backups: authenticated by smbprotocol, then pipelined by hand.

``client.SmbClient`` is the door. Importing it is cheap; smbprotocol is imported when it connects.
"""
