// The Key Vault: the repository's password, SystemSecrets.JSON, the passwords of SQL logins and of the share. Nobody's
// app deletes anything in it, and what somebody deletes can be recovered for 90 days, and be purged by nobody.

import { Tags } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags Tags

@minLength(3)
@maxLength(24)
@description('Name of the Key Vault.')
param name string

@description('Take the deleted Key Vault of this name back, with what is in it. Its name cannot be had otherwise before it is purged.')
param recover bool

@description('Whether its public endpoint answers. By Entra ID alone, as the private one.')
param publicAccess bool

@minLength(1)
@description('Resource id of the Log Analytics workspace that is told of each access.')
param workspaceId string

resource keyVault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    createMode: recover ? 'recover' : 'default'
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: publicAccess ? 'Allow' : 'Deny'
    }
  }
}

resource told 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'lifeboat'
  scope: keyVault
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated' // the table AZKVAuditLogs
    logs: [
      {
        category: 'AuditEvent'
        enabled: true
      }
    ]
  }
}

@description('Resource id of the Key Vault.')
output id string = keyVault.id

@description('Name of the Key Vault.')
output name string = keyVault.name

@description('LIFEBOAT_KEY_VAULT_URL.')
output uri string = keyVault.properties.vaultUri
