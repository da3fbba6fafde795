using '../main.bicep'

param shape = 'plain'

// What the site would say; the names are examples.
param environmentName = 'plain'
param location = 'westeurope'
param settings = {
  SHARE_URL: 'smb://fileserver.contoso.example/WebSites'
  SHARE_USERNAME: 'lifeboat@contoso.example'
  SQL_SERVER: 'sql01.contoso.example'
  SQL_USERNAME: 'lifeboat'
}
param alertEmails = 'backup@contoso.example'
param restorersGroupId = '11111111-1111-1111-1111-111111111111'
param authClientId = '22222222-2222-2222-2222-222222222222'
