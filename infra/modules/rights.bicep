// Who may do what: every role assignment that there is, one table for each place. Nothing is assigned at the resource
// group or above, nothing to whoever deploys, and each app has rights on its own host storage alone. What this comes to,
// app by app and container by container, is computed by tests/infra/effective_rights.py and shown in docs/guarantees.md.

import { Identity } from '../types.bicep'

@minLength(3)
@maxLength(24)
@description('Name of the vault\'s account.')
param vaultName string

@maxLength(24)
@description('Name of the landing account. Empty: there is none.')
param landingName string

@minLength(3)
@maxLength(24)
@description('Name of the Key Vault.')
param keyVaultName string

@minLength(3)
@maxLength(24)
@description('Name of the backup app\'s host storage.')
param backupHostName string

@minLength(3)
@maxLength(24)
@description('Name of the keeper\'s host storage.')
param keeperHostName string

@minLength(1)
@maxLength(255)
@description('Name of the Application Insights component.')
param appInsightsName string

@description('Names of the role definitions that roles.bicep makes.')
param roles {
  vaultAdder: string
  lockRemover: string
  vaultKeeper: string
  vaultReader: string
  secretsWriter: string
}

@description('Who the backup app is.')
param backup Identity

@description('Who the keeper is.')
param keeper Identity

@description('Object id of the service principal of a reader on the file server. Empty: there is none.')
param agentPrincipalId string

@description('Object id of the group of those who restore. Empty: there is none.')
param restorersGroupId string

@description('Who gets a right.')
type Who = {
  @description('Names the assignment, besides its place and its role: known before anything is made.')
  id: string
  principalId: string
  principalType: 'ServicePrincipal' | 'Group'
}

@description('One row of a table.')
type Grant = {
  who: Who

  @description('Name of the role definition, a GUID.')
  role: string

  @description('Under which it holds. Absent: always.')
  condition: string?
}

var backupApp Who[] = [app(backup)]
var keeperApp Who[] = [app(keeper)]
var shareAgent Who[] = empty(agentPrincipalId)
  ? []
  : [{ id: agentPrincipalId, principalId: agentPrincipalId, principalType: 'ServicePrincipal' }]
var restorers Who[] = empty(restorersGroupId)
  ? []
  : [{ id: restorersGroupId, principalId: restorersGroupId, principalType: 'Group' }]

var blobs = 'Microsoft.Storage/storageAccounts/blobServices/containers/blobs'
var locksOnly = '((!(ActionMatches{\'${blobs}/delete\'})) OR (@Resource[${blobs}:path] StringLike \'locks/*\'))'

var blobContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe' // Storage Blob Data Contributor
var blobOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
var queueContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
var tableContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor
var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User
var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher

func app(identity Identity) Who => {
  id: identity.id
  principalId: identity.principalId
  principalType: 'ServicePrincipal'
}

func grant(who Who[], role string) Grant[] => map(who, each => { who: each, role: role })

func grantIf(who Who[], role string, condition string) Grant[] =>
  map(who, each => { who: each, role: role, condition: condition })

// --- the tables ---

var onShare Grant[] = concat(
  grant(backupApp, roles.vaultAdder),
  grantIf(backupApp, roles.lockRemover, locksOnly),
  grant(keeperApp, roles.vaultKeeper),
  grant(shareAgent, roles.vaultAdder),
  grantIf(shareAgent, roles.lockRemover, locksOnly),
  grant(restorers, roles.vaultReader)
)

var onDatabases Grant[] = concat(
  grant(backupApp, roles.vaultAdder),
  grant(keeperApp, roles.vaultKeeper),
  grant(restorers, roles.vaultReader)
)

var onRecoveryPoints Grant[] = concat(
  grant(backupApp, roles.vaultAdder),
  grant(keeperApp, roles.vaultKeeper),
  grant(shareAgent, roles.vaultAdder),
  grant(restorers, roles.vaultReader)
)

// Each run, and each restore, makes a container there, and signs for SQL Server by a delegation key, which is had for the
// whole account only.
var onLanding Grant[] = concat(grant(backupApp, blobContributor), grant(restorers, blobContributor))

var onSecrets Grant[] = concat(grant(backupApp, roles.secretsWriter), grant(restorers, secretsUser))

// The keeper opens the repository and needs no other secret. The first backup makes this one, so it may not be there yet:
// of a name inside an account nobody looks up whether it exists when a role is assigned for it
// (Azure/azure-powershell#3771).
var onRepositoryPassword Grant[] = grant(keeperApp, secretsUser)

// Microsoft asks for Owner; in an account without directories and dates it has nothing that matters over Contributor.
// Queues and tables hold the history of Durable Functions, which the keeper does without.
var onBackupHost Grant[] = concat(
  grant(backupApp, blobOwner),
  grant(backupApp, queueContributor),
  grant(backupApp, tableContributor)
)
var onKeeperHost Grant[] = grant(keeperApp, blobOwner)

var onAppInsights Grant[] = concat(grant(backupApp, metricsPublisher), grant(keeperApp, metricsPublisher))

// --- the places ---

resource vault 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: vaultName

  resource blobService 'blobServices' existing = {
    name: 'default'

    resource share 'containers' existing = {
      name: 'share'
    }

    resource databases 'containers' existing = {
      name: 'databases'
    }

    resource recoveryPoints 'containers' existing = {
      name: 'recovery-points'
    }
  }
}

resource landing 'Microsoft.Storage/storageAccounts@2025-06-01' existing = if (!empty(landingName)) {
  name: landingName
}

resource keyVault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: keyVaultName

  resource repositoryPassword 'secrets' existing = {
    name: 'repository-password'
  }
}

resource backupHost 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: backupHostName
}

resource keeperHost 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: keeperHostName
}

resource appInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: appInsightsName
}

// --- the assignments ---

resource shareRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in onShare: {
    name: guid(vault::blobService::share.id, row.who.id, row.role)
    scope: vault::blobService::share
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
      condition: row.?condition
      conditionVersion: row.?condition == null ? null : '2.0'
    }
  }
]

resource databasesRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in onDatabases: {
    name: guid(vault::blobService::databases.id, row.who.id, row.role)
    scope: vault::blobService::databases
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
    }
  }
]

resource recoveryPointsRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in onRecoveryPoints: {
    name: guid(vault::blobService::recoveryPoints.id, row.who.id, row.role)
    scope: vault::blobService::recoveryPoints
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
    }
  }
]

resource landingRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in empty(landingName) ? [] : onLanding: {
    name: guid(landing.id, row.who.id, row.role)
    scope: landing
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
    }
  }
]

resource secretsRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in onSecrets: {
    name: guid(keyVault.id, row.who.id, row.role)
    scope: keyVault
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
    }
  }
]

resource repositoryPasswordRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in onRepositoryPassword: {
    name: guid(keyVault::repositoryPassword.id, row.who.id, row.role)
    scope: keyVault::repositoryPassword
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
    }
  }
]

resource backupHostRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in onBackupHost: {
    name: guid(backupHost.id, row.who.id, row.role)
    scope: backupHost
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
    }
  }
]

resource keeperHostRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in onKeeperHost: {
    name: guid(keeperHost.id, row.who.id, row.role)
    scope: keeperHost
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
    }
  }
]

resource appInsightsRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for row in onAppInsights: {
    name: guid(appInsights.id, row.who.id, row.role)
    scope: appInsights
    properties: {
      principalId: row.who.principalId
      principalType: row.who.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', row.role)
    }
  }
]
