// The storage account into which SQL Server writes its backups, and from which it restores. Nothing is kept in it: each
// run copies its files into the vault and removes its container.

import { StorageSku, Tags } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags Tags

@minLength(3)
@maxLength(24)
@description('Name of the storage account.')
param name string

@description('Redundancy.')
param sku StorageSku

@description('Whether its account keys are good for anything: for LIFEBOAT_SQL_SAS=account-key alone.')
param sharedKey bool

@description('Whether its public endpoint answers.')
param publicAccess bool

@description('Public addresses, or ranges up to /30, from which SQL Server and those who restore come. Empty: from anywhere, with a signature or a token.')
param stampAddresses string[]

@description('Subnet of the backup app, with the service endpoint Microsoft.Storage. Needed where there are stampAddresses, since an address does not tell where traffic comes from within a region. Empty: there is none.')
param subnetId string

@minLength(1)
@description('Resource id of the Log Analytics workspace that is told of each access.')
param workspaceId string

// A vault takes a file from here by Put Blob From URL. Its service is on no list of addresses, but then it reads for its
// client: who may reach this account from a listed subnet, or by a private endpoint, gets the copy too ("Use AzCopy to
// copy blobs between Azure storage accounts with network restrictions" in Azure's documentation).
var isRestricted = publicAccess && !empty(stampAddresses)
var knowsTheApp = isRestricted && empty(subnetId)
  ? fail('LIFEBOAT_STAMP_ADDRESSES would lock the apps out of the landing account: it needs a shape with a virtual network')
  : isRestricted

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowBlobPublicAccess: false
    allowSharedKeyAccess: sharedKey
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: publicAccess && !isRestricted ? 'Allow' : 'Deny'
      ipRules: [
        for address in isRestricted ? stampAddresses : []: {
          action: 'Allow'
          value: address
        }
      ]
      virtualNetworkRules: knowsTheApp
        ? [
            {
              action: 'Allow'
              id: subnetId
            }
          ]
        : []
    }
    encryption: {
      keySource: 'Microsoft.Storage'
      requireInfrastructureEncryption: true
      services: {
        blob: {
          enabled: true
          keyType: 'Account'
        }
      }
    }
  }

  // Neither versions nor soft deletion: the same bytes are in the vault, and would be paid for once more.
  resource blobs 'blobServices' = {
    name: 'default'
    properties: {
      isVersioningEnabled: false
      deleteRetentionPolicy: {
        enabled: false
      }
      containerDeleteRetentionPolicy: {
        enabled: false
      }
    }
  }

  // The next run removes what a killed one has left, after eight days, which is longer than any run. This is for when
  // there is no next run.
  resource lifecycle 'managementPolicies' = {
    name: 'default'
    properties: {
      policy: {
        rules: [
          {
            name: 'leftovers'
            type: 'Lifecycle'
            enabled: true
            definition: {
              filters: {
                blobTypes: ['blockBlob']
              }
              actions: {
                baseBlob: {
                  delete: {
                    daysAfterModificationGreaterThan: 8
                  }
                }
              }
            }
          }
        ]
      }
    }
    dependsOn: [
      blobs
    ]
  }
}

resource told 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'lifeboat'
  scope: account::blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageRead' // whose signature was used to read a backup
        enabled: true
      }
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

@description('Resource id of the account.')
output id string = account.id

@description('Name of the account.')
output name string = account.name

@description('LIFEBOAT_LANDING_URL.')
output blobEndpoint string = account.properties.primaryEndpoints.blob
