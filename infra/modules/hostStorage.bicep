// What the Functions host of one app needs to run: its locks and, for the backup app, the history of Durable Functions;
// and the container from which the platform takes the app's code. An account for each app: who can write an app's
// code container can be that app, so the backup app must not be able to write the keeper's.

import { HostEndpoints, Tags } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags Tags

@minLength(3)
@maxLength(24)
@description('Name of the storage account.')
param name string

@description('Whether its public endpoints answer. By Entra ID alone, as the private ones.')
param publicAccess bool

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS' // nothing in it outlives a run, but for the code, which is deployed again
  }
  properties: {
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: publicAccess ? 'Allow' : 'Deny'
    }
  }

  resource blobs 'blobServices' = {
    name: 'default'

    resource code 'containers' = {
      name: 'code'
      properties: {
        publicAccess: 'None'
      }
    }
  }
}

@description('Resource id of the account.')
output id string = account.id

@description('Where the platform takes the app\'s code from.')
output codeContainerUrl string = '${account.properties.primaryEndpoints.blob}${account::blobs::code.name}'

@description('Where the host keeps its locks, queues and tables.')
output endpoints HostEndpoints = {
  blob: account.properties.primaryEndpoints.blob
  queue: account.properties.primaryEndpoints.queue
  table: account.properties.primaryEndpoints.table
}
