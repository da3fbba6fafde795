using '../main.bicep'

param shape = 'private-network'

// What the site would say; the names are examples.
param environmentName = 'private-network'
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
param hubNetworkId = '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/rg-hub/providers/Microsoft.Network/virtualNetworks/vnet-hub'
param useHubGateway = true
param dnsServers = '10.0.0.4, 10.0.0.5'
