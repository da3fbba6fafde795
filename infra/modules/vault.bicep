// The storage account that keeps the backups. What is in it is added to and read; who may do more is in rights.bicep, and
// what holds against those who may is here: versions, soft deletion, and dates until which nobody can delete a blob.

import { Immutability, StorageSku, Tags } from '../types.bicep'

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

@description('What holds against who may delete. From none to dates the account has to be made anew: support for dates is given when it is made, and cannot be taken back.')
param immutability Immutability

@minValue(1)
@maxValue(365)
@description('With immutability locked: days from its creation in which a backup of a database cannot be deleted, whatever else happens.')
param defaultPolicyDays int

@description('That policy was locked by hand. From then on the template leaves it alone, since Azure refuses to write a locked one.')
param policyIsLocked bool

@description('A log of every write, kept for 90 days. It costs.')
param changeFeed bool

@minValue(0)
@maxValue(3650)
@description('Days after which backups go to the cool tier; 0: never.')
param tierAfterDays int

@description('Whether its public endpoint answers. By Entra ID alone, as the private one.')
param publicAccess bool

@minLength(1)
@description('Resource id of the Log Analytics workspace that is told of writes and deletions.')
param workspaceId string

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
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: publicAccess ? 'Allow' : 'Deny'
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
    immutableStorageWithVersioning: immutability == 'none'
      ? null
      : {
          enabled: true
        }
  }

  resource blobs 'blobServices' = {
    name: 'default'
    properties: {
      isVersioningEnabled: true
      // What is deleted becomes a version; a version that somebody deletes can be undeleted for so long. It is paid for
      // that long too, also where the keeper has deleted it, hence no longer than it takes to notice.
      deleteRetentionPolicy: {
        enabled: true
        days: 14
        allowPermanentDelete: false
      }
      containerDeleteRetentionPolicy: {
        enabled: true
        days: 30
      }
      changeFeed: changeFeed
        ? {
            enabled: true
            retentionInDays: 90
          }
        : {
            enabled: false
          }
    }

    // No default policy on these two. It would count from a blob's creation, and an old pack is needed by each new point
    // that still refers to it; the keeper's dates go by what is needed. And the locks of the repository, which come and
    // go, lie in `share`.
    resource share 'containers' = {
      name: 'share'
      properties: {
        publicAccess: 'None'
      }
    }

    resource recoveryPoints 'containers' = {
      name: 'recovery-points'
      properties: {
        publicAccess: 'None'
      }
    }

    resource databases 'containers' = {
      name: 'databases'
      properties: {
        publicAccess: 'None'
      }

      // A backup of a database is needed most when it is young, before the keeper's first date for it. A template can only
      // make the policy unlocked; the command that locks it for good is printed after provisioning.
      resource defaultPolicy 'immutabilityPolicies' = if (immutability == 'locked' && !policyIsLocked) {
        name: 'default'
        properties: {
          immutabilityPeriodSinceCreationInDays: defaultPolicyDays
          allowProtectedAppendWrites: false
        }
      }
    }
  }

  // Nothing here is ever deleted by age: a rule counts the age of a version from when the blob was written, and would
  // remove an old pack for good on the day after somebody has deleted it. What is large goes to a cooler tier, and what
  // every command reads (index, snapshots, records) stays where it is. All of it is read back within VERIFY_WITHIN, and a
  // cool tier charges for reading: that pays only where VERIFY_WITHIN is a good deal longer than the 30 days it begins with.
  resource lifecycle 'managementPolicies' = if (tierAfterDays > 0) {
    name: 'default'
    properties: {
      policy: {
        rules: [
          {
            name: 'cool'
            type: 'Lifecycle'
            enabled: true
            definition: {
              filters: {
                blobTypes: ['blockBlob']
                prefixMatch: ['databases/', 'share/data/']
              }
              actions: {
                baseBlob: {
                  tierToCool: {
                    daysAfterModificationGreaterThan: tierAfterDays
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

// While it is there Azure also refuses to remove a role assignment of the account.
resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (immutability == 'locked') {
  name: 'backups'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'The backups of Lifeboat. Remove this lock only to give them up.'
  }
}

@description('Resource id of the account.')
output id string = account.id

@description('Name of the account.')
output name string = account.name

@description('LIFEBOAT_VAULT_URL.')
output blobEndpoint string = account.properties.primaryEndpoints.blob
