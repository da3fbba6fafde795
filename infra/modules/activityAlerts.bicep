// Alerts on what is changed in Azure itself: storage accounts, immutability, lifecycle, rights, Key Vault, apps, and what
// watches over all of it. They are of Azure's activity log, which is there without any setting.
//
// Each change is told, also what a deployment of one's own makes (the descriptions say so): who attacks uses a deployment
// too. A change that was refused is told as well: somebody has tried.

import { Tags } from '../types.bicep'

@description('Tags of every alert.')
param tags Tags

@description('What the name of each alert begins with.')
@minLength(1)
@maxLength(60)
param namePrefix string

@description('Resource id of the action group.')
param actionGroupId string

@description('An alert: which operations it tells of, and what to do then.')
@sealed()
type Rule = {
  name: string

  @description('Names of operations, as Azure\'s resource providers list them.')
  operations: string[]

  @description('In the whole subscription: what is granted above the resource group holds in it.')
  everywhere: bool?

  @description('Told when it begins as well: when it is done, nothing is left here that could tell of it.')
  begun: bool?

  description: string
}

var group = resourceGroup().name
var columns = '"[].{when: eventTimestamp, who: caller, what: operationName.value, where: resourceId, status: status.value}" -o table'
var log = 'az monitor activity-log list -g ${group} --offset 2d --query ${columns}'
var wholeLog = 'az monitor activity-log list --offset 2d --query ${columns}'
// Without --no-state azd deploys nothing while its templates and parameters are those of the last time.
var ours = 'After azd provision, or a change that you have made, it is yours. Else see who it was, and put it back by azd provision --no-state'

var rules Rule[] = [
  {
    name: 'group-deleted'
    begun: true
    operations: ['Microsoft.Resources/subscriptions/resourceGroups/delete']
    description: 'Somebody deletes the whole resource group: apps, Key Vault, alerts, and the vault where nothing in it is locked. If it is none of you, take that identity\'s rights away at once, and lock what is still there: az lock create --name stop --lock-type CanNotDelete -g ${group}. Who it is: ${wholeLog}. What is gone comes back by azd provision, with azd env set LIFEBOAT_RECOVER_KEY_VAULT true for the Key Vault; a deleted storage account, for 14 days, in the portal under Storage accounts, Restore.'
  }
  {
    name: 'storage-changed'
    operations: [
      'Microsoft.Storage/storageAccounts/write'
      'Microsoft.Storage/storageAccounts/delete'
      'Microsoft.Storage/storageAccounts/regenerateKey/action'
      'Microsoft.Storage/storageAccounts/blobServices/write'
      'Microsoft.Storage/storageAccounts/blobServices/containers/write'
      'Microsoft.Storage/storageAccounts/blobServices/containers/delete'
      'Microsoft.Storage/storageAccounts/objectReplicationPolicies/write'
      'Microsoft.Storage/storageAccounts/failover/action'
      'Microsoft.Storage/storageAccounts/localUsers/write'
    ]
    description: 'A storage account was changed or deleted: its network rules, keys, versions, soft delete, containers or replication. ${ours}: ${log}. A deleted account can be brought back for 14 days, in the portal under Storage accounts, Restore.'
  }
  {
    name: 'immutability-changed'
    operations: [
      'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/write'
      'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/delete'
      'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/lock/action'
      'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/extend/action'
      'Microsoft.Storage/storageAccounts/blobServices/containers/setLegalHold/action'
      'Microsoft.Storage/storageAccounts/blobServices/containers/clearLegalHold/action'
      'Microsoft.Authorization/locks/write'
      'Microsoft.Authorization/locks/delete'
    ]
    description: 'What keeps backups from being deleted was changed: an immutability policy, a legal hold or a lock of a resource. ${ours}: ${log}. What has a locked date keeps it; set the dates anew, as the keeper: python lifeboat.py protect'
  }
  {
    name: 'lifecycle-changed'
    operations: [
      'Microsoft.Storage/storageAccounts/managementPolicies/write'
      'Microsoft.Storage/storageAccounts/managementPolicies/delete'
    ]
    description: 'The lifecycle of a storage account was changed. In the vault it only tiers: a rule that deletes would take backups, by Azure itself, a day later. ${ours}: ${log}'
  }
  {
    name: 'rights-changed'
    everywhere: true
    operations: [
      'Microsoft.Authorization/roleAssignments/write'
      'Microsoft.Authorization/roleAssignments/delete'
      'Microsoft.Authorization/roleDefinitions/write'
      'Microsoft.Authorization/roleDefinitions/delete'
    ]
    description: 'Somebody was granted rights, or lost them. It is told for the whole subscription, since what is granted there holds here; what is granted above it, in a management group, is not in this log. ${ours}: ${wholeLog}. Who may what: az role assignment list -g ${group} --include-inherited -o table'
  }
  {
    name: 'identities-changed'
    operations: [
      'Microsoft.ManagedIdentity/userAssignedIdentities/write'
      'Microsoft.ManagedIdentity/userAssignedIdentities/delete'
      'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action'
      'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write'
    ]
    description: 'The identity of an app, or of the agent, was changed, deleted, or handed to something else, which then has its rights. ${ours}: ${log}. Who else can be one of them: az identity federated-credential list -g ${group} --identity-name NAME -o table (az identity list -g ${group} -o table has the names)'
  }
  {
    name: 'key-vault-changed'
    operations: [
      'Microsoft.KeyVault/vaults/write'
      'Microsoft.KeyVault/vaults/delete'
      'Microsoft.KeyVault/vaults/accessPolicies/write'
      'Microsoft.KeyVault/vaults/secrets/write'
    ]
    description: 'The Key Vault was changed or deleted, or a secret was set in it from outside, by a deployment; without the repository password in it nothing can be restored. ${ours}: ${log}. A deleted one comes back by: azd env set LIFEBOAT_RECOVER_KEY_VAULT true, and azd provision'
  }
  {
    name: 'app-changed'
    operations: [
      'Microsoft.Web/sites/write'
      'Microsoft.Web/sites/delete'
      'Microsoft.Web/sites/stop/action'
      'Microsoft.Web/sites/config/write'
      'Microsoft.Web/sites/config/delete'
      'Microsoft.Web/sites/extensions/write'
      'Microsoft.Web/sites/basicPublishingCredentialsPolicies/write'
      'Microsoft.Web/sites/slots/write'
      'Microsoft.Web/serverfarms/delete'
    ]
    description: 'A function app was changed, stopped or deleted, or its settings, its code or the ways to it were. ${ours} and azd deploy: ${log}. Whether they run: az functionapp list -g ${group} -o table'
  }
  {
    name: 'monitoring-changed'
    operations: [
      'Microsoft.Insights/diagnosticSettings/write'
      'Microsoft.Insights/diagnosticSettings/delete'
      'Microsoft.Insights/scheduledQueryRules/write'
      'Microsoft.Insights/scheduledQueryRules/delete'
      'Microsoft.Insights/activityLogAlerts/write'
      'Microsoft.Insights/activityLogAlerts/delete'
      'Microsoft.Insights/metricAlerts/write'
      'Microsoft.Insights/metricAlerts/delete'
      'Microsoft.Insights/actionGroups/write'
      'Microsoft.Insights/actionGroups/delete'
      'Microsoft.Insights/components/write'
      'Microsoft.Insights/components/delete'
      'Microsoft.AlertsManagement/actionRules/write'
      'Microsoft.OperationalInsights/workspaces/write'
      'Microsoft.OperationalInsights/workspaces/delete'
      'Microsoft.OperationalInsights/workspaces/tables/write'
      'Microsoft.OperationalInsights/workspaces/purge/action'
      'Microsoft.Insights/dataCollectionRules/write'
    ]
    description: 'What watches was changed: logs, diagnostic settings, alerts or who is told. Who wants to go unseen begins here. ${ours}: ${log}'
  }
]

resource alerts 'Microsoft.Insights/activityLogAlerts@2026-01-01' = [
  for rule in rules: {
    name: '${namePrefix}${rule.name}'
    location: 'global'
    tags: tags
    properties: {
      enabled: true
      description: rule.description
      scopes: [rule.?everywhere ?? false ? subscription().id : resourceGroup().id]
      condition: {
        allOf: [
          { field: 'category', equals: 'Administrative' }
          { anyOf: map(rule.operations, operation => { field: 'operationName', equals: operation }) }
          // Done or refused: each operation has other entries in the log, of its beginning.
          {
            anyOf: map(
              concat(rule.?begun ?? false ? ['Started'] : [], ['Succeeded', 'Failed']),
              status => { field: 'status', equals: status }
            )
          }
        ]
      }
      actions: { actionGroups: [{ actionGroupId: actionGroupId }] }
    }
  }
]
