using '../main.bicep'

param shape = 'everything'

// What the site would say; the names are examples.
param environmentName = 'everything'
param location = 'westeurope'
param settings = {
  SHARE_URL: 'smb://fileserver.contoso.example/WebSites'
  SHARE_USERNAME: 'lifeboat@contoso.example'
  SQL_SERVER: 'sql01.contoso.example'
  SQL_USERNAME: 'lifeboat'
  DRILL_SQL_SERVER: 'sqldrill.contoso.example'
}
param alertEmails = 'backup@contoso.example'
param restorersGroupId = '11111111-1111-1111-1111-111111111111'
param authClientId = '22222222-2222-2222-2222-222222222222'
param agentPrincipalId = '44444444-4444-4444-4444-444444444444'
param alertWebhook = 'https://alerts.contoso.example/lifeboat'
param stampAddresses = '203.0.113.8'
param stampGateway = '203.0.113.1'
param stampRanges = '10.20.0.0/16'
param dnsServers = '10.20.0.4, 10.20.0.5'
