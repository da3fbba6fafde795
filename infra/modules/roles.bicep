// What an identity can be allowed to do, where no built-in role is narrow enough: each holds what the commands of its
// bearer ask for, read off the storage clients (shared/storage), and nothing else. Assigned in rights.bicep. They are made
// in the resource group, in which alone they can be assigned.

@minLength(1)
@maxLength(13)
@description('What ends their names, which are unique in the tenant.')
param token string

var containers = 'Microsoft.Storage/storageAccounts/blobServices/containers'
var blobs = '${containers}/blobs'
var secrets = 'Microsoft.KeyVault/vaults/secrets'

// The backup app, and a reader on the file server. Without blobs/write nothing that is there can be overwritten: Put Blob
// and Put Blob From URL to a new name are all that a backup does.
resource vaultAdder 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, token, 'vaultAdder')
  properties: {
    roleName: 'Lifeboat vault adder ${token}'
    description: 'Reads and adds blobs. Overwrites and deletes none.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: ['${containers}/read'] // preflight looks whether the container takes dates
        dataActions: ['${blobs}/read', '${blobs}/add/action']
      }
    ]
  }
}

// A role of its own, so that its condition cannot be forgotten for the rest: it is assigned for the folder of locks alone.
resource lockRemover 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, token, 'lockRemover')
  properties: {
    roleName: 'Lifeboat lock remover ${token}'
    description: 'Deletes blobs. To be assigned for the locks of the repository only.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        dataActions: ['${blobs}/delete']
      }
    ]
  }
}

// The keeper adds index files, packs and journals; it overwrites nothing either, so whoever gets hold of it cannot put
// false bytes in the place of true ones. Without permanentDelete what it deletes can be undeleted for a while.
resource vaultKeeper 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, token, 'vaultKeeper')
  properties: {
    roleName: 'Lifeboat vault keeper ${token}'
    description: 'Reads and adds blobs, sets the dates until which nobody can delete them, deletes blobs and versions.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        dataActions: [
          '${blobs}/read'
          '${blobs}/add/action'
          '${blobs}/delete'
          '${blobs}/deleteBlobVersion/action'
          '${blobs}/immutableStorage/runAsSuperUser/action'
        ]
      }
    ]
  }
}

// Storage Blob Data Reader could give out delegated access (a SAS) as well.
resource vaultReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, token, 'vaultReader')
  properties: {
    roleName: 'Lifeboat vault reader ${token}'
    description: 'Reads blobs.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        dataActions: ['${blobs}/read']
      }
    ]
  }
}

// Key Vault Secrets Officer could delete, purge, back up and restore as well.
resource secretsWriter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, token, 'secretsWriter')
  properties: {
    roleName: 'Lifeboat secrets writer ${token}'
    description: 'Reads secrets, makes new versions of them and tags these. Deletes none.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        dataActions: [
          '${secrets}/getSecret/action'
          '${secrets}/readMetadata/action'
          '${secrets}/setSecret/action'
          '${secrets}/update/action'
        ]
      }
    ]
  }
}

// For the worst day, when somebody has emptied the vault: 'undelete', 'protect' and 'prune' by hand. Assigned to nobody;
// the runbook prints the command. Besides what the keeper has it needs blobs/write, by which soft-deleted versions come
// back (Undelete Blob), and containers/write, by which a deleted container does (Microsoft's page of permissions names
// that for Undelete Blob too). So whoever has it could overwrite: what was there stays as a version.
resource breakGlass 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, token, 'breakGlass')
  properties: {
    roleName: 'Lifeboat break-glass ${token}'
    description: 'Brings back what was deleted from the vault, and prunes by hand. For the day of need only.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: ['${containers}/read', '${containers}/write']
        dataActions: [
          '${blobs}/read'
          '${blobs}/add/action'
          '${blobs}/write'
          '${blobs}/delete'
          '${blobs}/deleteBlobVersion/action'
          '${blobs}/immutableStorage/runAsSuperUser/action'
        ]
      }
    ]
  }
}

@description('Names of those that are assigned.')
output roles {
  vaultAdder: string
  lockRemover: string
  vaultKeeper: string
  vaultReader: string
  secretsWriter: string
} = {
  vaultAdder: vaultAdder.name
  lockRemover: lockRemover.name
  vaultKeeper: vaultKeeper.name
  vaultReader: vaultReader.name
  secretsWriter: secretsWriter.name
}
