// A private endpoint for each target, and the private DNS zones by which its usual name leads there.

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Resource id of the network whose names lead to the endpoints.')
param vnetId string

@description('Subnet that the endpoints are put into.')
param subnetId string

@description('What is to be reached.')
type Target = {
  @description('Of the endpoint.')
  name: string

  @description('Resource id.')
  resourceId: string

  @description('The part of it.')
  groupId: 'blob' | 'queue' | 'table' | 'vault' | 'sites'
}

@description('What is to be reached.')
param targets Target[]

// By the names that Azure's documentation of private endpoints gives for the public cloud; storage has another suffix in
// each cloud.
var zoneNames = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  vault: 'privatelink.vaultcore.azure.net'
  sites: 'privatelink.azurewebsites.net'
}
var groups = union(map(targets, target => target.groupId), [])

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for group in groups: {
    name: zoneNames[group]
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (group, index) in groups: {
    parent: zones[index]
    name: last(split(vnetId, '/'))
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: {
        id: vnetId
      }
    }
  }
]

resource endpoints 'Microsoft.Network/privateEndpoints@2025-01-01' = [
  for target in targets: {
    name: 'pep-lifeboat-${target.name}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: subnetId
      }
      customNetworkInterfaceName: 'nic-lifeboat-${target.name}'
      privateLinkServiceConnections: [
        {
          name: target.groupId
          properties: {
            privateLinkServiceId: target.resourceId
            groupIds: [target.groupId]
          }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-01-01' = [
  for (target, index) in targets: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: target.groupId
          properties: {
            privateDnsZoneId: zones[indexOf(groups, target.groupId)].id
          }
        }
      ]
    }
    dependsOn: [
      links
    ]
  }
]
