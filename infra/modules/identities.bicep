// Who the apps are. One identity for each app, and no app holds two: code in an app can be every identity of that app.

import { Identity, Tags } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags Tags

@minLength(3)
@maxLength(128)
@description('Name of the backup app\'s identity.')
param backupName string

@minLength(3)
@maxLength(128)
@description('Name of the keeper\'s identity.')
param keeperName string

resource backupIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: backupName
  location: location
  tags: tags
}

resource keeperIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: keeperName
  location: location
  tags: tags
}

@description('Of the backup app.')
output backup Identity = {
  id: backupIdentity.id
  clientId: backupIdentity.properties.clientId
  principalId: backupIdentity.properties.principalId
}

@description('Of the keeper.')
output keeper Identity = {
  id: keeperIdentity.id
  clientId: keeperIdentity.properties.clientId
  principalId: keeperIdentity.properties.principalId
}
