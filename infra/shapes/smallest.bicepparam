using '../main.bicep'

param shape = 'smallest'

// What the site would say; the names are examples.
param environmentName = 'smallest'
param location = 'westeurope'
param settings = {
  SHARE_URL: 'smb://fileserver.contoso.example/WebSites'
  SHARE_USERNAME: 'lifeboat@contoso.example'
  SQL_SERVER: 'sql01.contoso.example'
  SQL_USERNAME: 'lifeboat'
}
param alertEmails = 'backup@contoso.example'
