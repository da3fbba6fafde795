// A private endpoint for each target, and the private DNS zones by which its usual name leads there.

import { Tags } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags Tags

@minLength(2)
@maxLength(64)
@description('Name of the network whose names lead to the endpoints.')
param vnetName string

@minLength(1)
@maxLength(80)
@description('Name of its subnet that the endpoints are put into.')
param subnetName string

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

resource vnet 'Microsoft.Network/virtualNetworks@2025-01-01' existing = {
  name: vnetName

  resource subnet 'subnets' existing = {
    name: subnetName
  }
}

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
    name: vnetName
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: {
        id: vnet.id
      }
    }
  }
]

// One after the other: a storage account takes one connection at a time, and refuses the others
// (StorageAccountOperationInProgress).
@batchSize(1)
resource endpoints 'Microsoft.Network/privateEndpoints@2025-01-01' = [
  for target in targets: {
    name: 'pep-lifeboat-${target.name}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: vnet::subnet.id
      }
      customNetworkInterfaceName: 'nic-lifeboat-${target.name}'
      privateLinkServiceConnections: [
        {
          name: target.groupId
          properties: {
            #disable-next-line use-resource-id-functions // it is one of a parameter's, which the rule does not see in a list
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
