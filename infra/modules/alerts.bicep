// Every alert, by where it looks: the logs, what is changed in Azure itself, the metrics of storage accounts.

import { Tags, Thresholds } from '../types.bicep'

@description('Region of the workspace.')
param location string

@description('Tags of every alert.')
param tags Tags

@description('What the name of each alert begins with.')
@minLength(1)
@maxLength(60)
param namePrefix string

@description('Resource id of the Log Analytics workspace.')
param workspaceId string

@description('Resource id of the action group that every alert tells.')
param actionGroupId string

@description('Resource id of the storage account of the vault.')
param vaultId string

@description('Resource id of the landing account. Empty: there is none.')
param landingId string

@description('Resource id of the Key Vault.')
param keyVaultId string

@description('Object id of the backup app\'s identity, which reads and adds.')
param backupPrincipalId string

@description('Object id of the keeper app\'s identity, which protects and deletes.')
param keeperPrincipalId string

@description('Object id of the identity of the agent on the file server. Empty: there is none.')
param agentPrincipalId string

@description('When alerts fire.')
param thresholds Thresholds

@description('The keeper sets dates each day (LIFEBOAT_PROTECT_FOR is not 0).')
param protects bool

module logAlerts 'logAlerts.bicep' = {
  name: 'alerts-logs'
  params: {
    location: location
    tags: tags
    namePrefix: namePrefix
    workspaceId: workspaceId
    actionGroupId: actionGroupId
    vaultName: last(split(vaultId, '/'))
    keyVaultId: keyVaultId
    backupPrincipalId: backupPrincipalId
    keeperPrincipalId: keeperPrincipalId
    agentPrincipalId: agentPrincipalId
    thresholds: thresholds
    protects: protects
  }
}

module activityAlerts 'activityAlerts.bicep' = {
  name: 'alerts-activity'
  params: {
    tags: tags
    namePrefix: namePrefix
    actionGroupId: actionGroupId
  }
}

module throttling 'throttling.bicep' = {
  name: 'alerts-throttling'
  params: {
    tags: tags
    namePrefix: namePrefix
    accounts: union({ vault: vaultId }, empty(landingId) ? {} : { landing: landingId })
    actionGroupId: actionGroupId
    throttledRequests: thresholds.throttledRequests
  }
}
