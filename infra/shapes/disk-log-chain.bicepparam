using '../main.bicep'

param shape = 'disk-log-chain'

// What the site would say; the names are examples.
param environmentName = 'disk-log-chain'
param location = 'westeurope'
param settings = {
  SHARE_URL: 'smb://fileserver.contoso.example/WebSites'
  SHARE_USERNAME: 'lifeboat@contoso.example'
  SQL_SERVER: 'sql01.contoso.example'
  SQL_USERNAME: 'lifeboat'
  SQL_DISK_PATH: '\\\\fileserver\\SqlBackup'
  SQL_DISK_URL: 'smb://fileserver.contoso.example:4445/SqlBackup'
  SQL_DISK_USERNAME: 'lifeboat@contoso.example'
}
param alertEmails = 'backup@contoso.example'
