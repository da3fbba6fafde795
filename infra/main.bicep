// Lifeboat, from the resource group to the last alert: one module for each thing, in this order. Each has a name, or what
// it would deploy could not be worked out without Azure (shapes/*.snapshot.json).

targetScope = 'subscription'

import { Settings, backupSettings, keeperSettings } from 'settings.bicep'
import { shapes } from 'shapes.bicep'
import { NetworkAddresses, Receivers, ShapeName, StorageSku, Thresholds } from 'types.bicep'

// --- what azd says ---

@minLength(1)
@maxLength(64)
@description('Name of the azd environment: of the resource group, and a tag of everything in it.')
param environmentName string

@minLength(1)
@description('Azure region. It must offer Flex Consumption.')
param location string

@maxLength(13)
@description('What makes names unique in all of Azure: 5 to 13 lower-case letters and digits. Empty: from subscription, environment and region.')
param resourceToken string = ''

// --- what is wanted ---

@description('The way to deploy.')
param shape ShapeName = 'plain'

// Not a nullable one: azd forgets that it is, where the type has a name, and asks for a value.
@description('Redundancy of the vault. Empty: as the shape has it. A region without zones has no ZRS.')
param vaultSku StorageSku | '' = ''

@description('Settings of Lifeboat: share, SQL Server, retention, schedules. They go before those of the shape.')
param settings Settings = {}

@description('Take back the Key Vault of this name, which was deleted and cannot be purged.')
param recoverKeyVault bool = false

@description('App registration by which people sign in to the dashboard. Empty: the dashboard answers nobody.')
param authClientId string = ''

@description('Object id of the Entra group whose members restore. Empty: none.')
param restorersGroupId string = ''

@description('Object id of the service principal of a reader on the file server (adopt mode): an app registration, or the machine as Azure Arc knows it. Empty: none.')
param agentPrincipalId string = ''

@description('Who is told of alerts: e-mail addresses, separated by commas.')
param alertEmails string = ''

@description('The default policy of a locked vault was locked for good, by hand. From then on it is left alone.')
param policyIsLocked bool = false

@secure()
@description('Webhook that takes alerts in the common schema. Empty: none.')
param alertWebhook string = ''

@description('When alerts fire.')
param thresholds Thresholds = {
  watchdogSilentHours: 3
  keeperSilentHours: 36
  expiryDays: 30
  growthRatio: 3
  growthLeastGiB: 10
  functionErrors: 3
  throttledRequests: 100
  foreignDeletions: 1
}

// --- the way to the stamp ---

@description('Public addresses or ranges from which SQL Server writes to landing, separated by commas. Empty: from anywhere, with its SAS.')
param stampAddresses string = ''

@minLength(9)
@description('Address space of the virtual network, a /24 or larger.')
param addressSpace string = '10.76.0.0/22'

@description('Resource id of a virtual network with a way to the stamp, to be peered with. Empty: none.')
param hubNetworkId string = ''

@description('That network has a gateway, which is used.')
param useHubGateway bool = false

@description('Public address of the VPN device before the stamp, where the shape has a gateway of its own. Empty: not connected yet.')
param stampGateway string = ''

@description('Address ranges of the stamp behind the gateway, separated by commas.')
param stampRanges string = ''

@description('DNS servers that know the names of the stamp, separated by commas. Empty: those of Azure.')
param dnsServers string = ''

// --- names and choices ---

var abbreviations = loadJsonContent('abbreviations.json')
var token = empty(resourceToken)
  ? toLower(uniqueString(subscription().id, environmentName, location))
  : toLower(resourceToken)
var tags = { 'azd-env-name': environmentName }
var chosen = shapes[shape]
var values = union(chosen.settings, settings)
var protects = empty(values.?PROTECT_FOR) // Lifeboat does by default
  ? true
  : int(substring(values.PROTECT_FOR!, 0, length(values.PROTECT_FOR!) - 1)) > 0
var isPrivate = chosen.network == 'private'
var hasNetwork = chosen.network != 'public'
var sharedKeyLanding = chosen.landing && values.?SQL_SAS == 'account-key'

@description('Of what others refer to.')
var names = {
  workspace: '${abbreviations.logAnalytics}lifeboat-${token}'
  appInsights: '${abbreviations.appInsights}lifeboat-${token}'
  actionGroup: '${abbreviations.actionGroup}lifeboat-${token}'
  vault: '${abbreviations.storage}lbv${token}'
  landing: '${abbreviations.storage}lbl${token}'
  keyVault: '${abbreviations.keyVault}lb-${token}'
  network: '${abbreviations.virtualNetwork}lifeboat-${token}'
  endpointSubnet: 'private-endpoints'
  backupHost: '${abbreviations.storage}lbb${token}'
  keeperHost: '${abbreviations.storage}lbk${token}'
  backupApp: '${abbreviations.functionApp}lifeboat-backup-${token}'
  keeperApp: '${abbreviations.functionApp}lifeboat-keeper-${token}'
}

var addresses NetworkAddresses = {
  space: addressSpace
  hubId: hubNetworkId
  useHubGateway: useHubGateway
  stampGateway: stampGateway
  stampRanges: listed(stampRanges)
  dnsServers: listed(dnsServers)
}

var receivers Receivers = {
  emails: listed(alertEmails)
  webhook: alertWebhook
}

@description('The parts of a text with commas; of an empty one none.')
func listed(text string) string[] => filter(map(split(text, ','), part => trim(part)), part => !empty(part))

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: '${abbreviations.resourceGroup}${environmentName}'
  location: location
  tags: tags
}

// --- who is told ---

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceName: names.workspace
    appInsightsName: names.appInsights
    actionGroupName: names.actionGroup
    logDays: chosen.logDays
    receivers: receivers
  }
}

// --- where backups and secrets are kept ---

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    location: location
    tags: tags
    name: names.vault
    sku: vaultSku == '' ? chosen.vaultSku : vaultSku
    immutability: chosen.immutability
    defaultPolicyDays: 7 // until the keeper has looked, which it does daily, and somebody has noticed where it does not
    policyIsLocked: policyIsLocked
    changeFeed: chosen.changeFeed
    tierAfterDays: chosen.tierAfterDays
    publicAccess: !isPrivate
    workspaceId: monitoring.outputs.workspaceId
  }
}

module landing 'modules/landing.bicep' = if (chosen.landing) {
  name: 'landing'
  scope: group
  params: {
    location: location
    tags: tags
    name: names.landing
    sku: chosen.landingSku
    sharedKey: sharedKeyLanding
    publicAccess: !isPrivate
    stampAddresses: listed(stampAddresses)
    subnetId: hasNetwork && !isPrivate ? network!.outputs.backupSubnetId : ''
    workspaceId: monitoring.outputs.workspaceId
  }
}

module keyVault 'modules/keyVault.bicep' = {
  name: 'keyVault'
  scope: group
  params: {
    location: location
    tags: tags
    name: names.keyVault
    recover: recoverKeyVault
    publicAccess: !isPrivate
    workspaceId: monitoring.outputs.workspaceId
  }
}

// --- the way to the stamp ---

module network 'modules/network.bicep' = if (hasNetwork) {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: tags
    name: names.network
    endpoints: isPrivate
    endpointSubnetName: names.endpointSubnet
    addresses: addresses
    gateway: chosen.gateway
  }
}

module privateEndpoints 'modules/privateEndpoints.bicep' = if (isPrivate) {
  name: 'privateEndpoints'
  scope: group
  params: {
    location: location
    tags: tags
    vnetName: names.network
    subnetName: names.endpointSubnet
    targets: concat(
      [
        { name: 'vault', resourceId: vault.outputs.id, groupId: 'blob' }
        { name: 'key-vault', resourceId: keyVault.outputs.id, groupId: 'vault' }
        { name: 'backup-host-blob', resourceId: backupHost.outputs.id, groupId: 'blob' }
        { name: 'backup-host-queue', resourceId: backupHost.outputs.id, groupId: 'queue' }
        { name: 'backup-host-table', resourceId: backupHost.outputs.id, groupId: 'table' }
        { name: 'keeper-host-blob', resourceId: keeperHost.outputs.id, groupId: 'blob' }
        { name: 'backup-app', resourceId: backupApp.outputs.id, groupId: 'sites' }
        { name: 'keeper-app', resourceId: keeperApp.outputs.id, groupId: 'sites' }
      ],
      chosen.landing ? [{ name: 'landing', resourceId: landing!.outputs.id, groupId: 'blob' }] : []
    )
  }
}

// --- who does it, and what each may ---

module identities 'modules/identities.bicep' = {
  name: 'identities'
  scope: group
  params: {
    location: location
    tags: tags
    backupName: '${abbreviations.managedIdentity}lifeboat-backup-${token}'
    keeperName: '${abbreviations.managedIdentity}lifeboat-keeper-${token}'
  }
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    token: token
  }
}

module rights 'modules/rights.bicep' = {
  name: 'rights'
  scope: group
  params: {
    vaultName: names.vault
    landingName: chosen.landing ? names.landing : ''
    keyVaultName: names.keyVault
    backupHostName: names.backupHost
    keeperHostName: names.keeperHost
    appInsightsName: names.appInsights
    roles: roles.outputs.roles
    backup: identities.outputs.backup
    keeper: identities.outputs.keeper
    agentPrincipalId: agentPrincipalId
    restorersGroupId: restorersGroupId
  }
  // It goes by names, so that it can be told before anything is there who will have which right.
  dependsOn: [
    monitoring
    vault
    landing
    keyVault
    backupHost
    keeperHost
  ]
}

// --- the two apps ---

module backupHost 'modules/hostStorage.bicep' = {
  name: 'backupHost'
  scope: group
  params: {
    location: location
    tags: tags
    name: names.backupHost
    publicAccess: !isPrivate
  }
}

module backupApp 'modules/functionApp.bicep' = {
  name: 'backupApp'
  scope: group
  params: {
    location: location
    tags: tags
    name: names.backupApp
    planName: '${abbreviations.hostingPlan}lb-backup-${token}'
    serviceName: 'backup'
    identity: identities.outputs.backup
    hostEndpoints: backupHost.outputs.endpoints
    codeContainerUrl: backupHost.outputs.codeContainerUrl
    instanceMemoryMB: chosen.instanceMemoryMB
    maximumInstances: 40
    alwaysReady: chosen.alwaysReady
    subnetId: hasNetwork ? network!.outputs.backupSubnetId : ''
    publicAccess: isPrivate ? 'none' : 'app'
    lifeboatSettings: union(
      backupSettings(values),
      {
        LIFEBOAT_ROLE: 'backup'
        LIFEBOAT_VAULT_URL: vault.outputs.blobEndpoint
        LIFEBOAT_KEY_VAULT_URL: keyVault.outputs.uri
      },
      chosen.landing ? { LIFEBOAT_LANDING_URL: landing!.outputs.blobEndpoint } : {},
      // What SQL Server can only be given by a key, or the folder of mode disk by a password of its own, lies in the Key
      // Vault as every secret does; the platform reads it there for the app.
      sharedKeyLanding ? { LIFEBOAT_LANDING_KEY: secret(keyVault.outputs.uri, 'landing-key') } : {},
      empty(values.?SQL_DISK_USERNAME)
        ? {}
        : { LIFEBOAT_SQL_DISK_PASSWORD: secret(keyVault.outputs.uri, 'sql-disk-password') }
    )
    connectionString: monitoring.outputs.connectionString
    authClientId: chosen.dashboard ? authClientId : ''
  }
}

module keeperHost 'modules/hostStorage.bicep' = {
  name: 'keeperHost'
  scope: group
  params: {
    location: location
    tags: tags
    name: names.keeperHost
    publicAccess: !isPrivate
  }
}

module keeperApp 'modules/functionApp.bicep' = {
  name: 'keeperApp'
  scope: group
  params: {
    location: location
    tags: tags
    name: names.keeperApp
    planName: '${abbreviations.hostingPlan}lb-keeper-${token}'
    serviceName: 'keeper'
    identity: identities.outputs.keeper
    hostEndpoints: keeperHost.outputs.endpoints
    codeContainerUrl: keeperHost.outputs.codeContainerUrl
    instanceMemoryMB: 2048
    maximumInstances: 40 // the least that every region takes; a timer runs on one of them at a time
    alwaysReady: false
    subnetId: hasNetwork ? network!.outputs.keeperSubnetId : ''
    publicAccess: isPrivate ? 'none' : 'deployment' // nobody calls it
    lifeboatSettings: union(keeperSettings(values), {
      LIFEBOAT_ROLE: 'keeper'
      LIFEBOAT_VAULT_URL: vault.outputs.blobEndpoint
      LIFEBOAT_KEY_VAULT_URL: keyVault.outputs.uri
    })
    connectionString: monitoring.outputs.connectionString
    authClientId: ''
  }
}

@description('A setting whose value the platform reads from the Key Vault.')
func secret(keyVaultUri string, name string) string => '@Microsoft.KeyVault(SecretUri=${keyVaultUri}secrets/${name})'

// --- what is told, and shown ---

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    namePrefix: '${abbreviations.alertRule}lifeboat-'
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: monitoring.outputs.actionGroupId
    vaultId: vault.outputs.id
    landingId: chosen.landing ? landing!.outputs.id : ''
    keyVaultId: keyVault.outputs.id
    backupPrincipalId: identities.outputs.backup.principalId
    keeperPrincipalId: identities.outputs.keeper.principalId
    agentPrincipalId: agentPrincipalId
    protects: protects
    thresholds: thresholds
  }
  // They tell of every change of what is watched: what the first deployment itself makes is no news.
  dependsOn: [
    rights
    backupApp
    keeperApp
  ]
}

module workbook 'modules/workbook.bicep' = if (chosen.workbook) {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

// --- what azd keeps, for its hooks and for the next command ---

@description('Azure region.')
output AZURE_LOCATION string = location

@description('Name of the resource group.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Name of the backup app.')
output LIFEBOAT_BACKUP_APP string = names.backupApp

@description('Host name of the backup app.')
output LIFEBOAT_BACKUP_HOST string = backupApp.outputs.hostName

@description('Object id of the backup app\'s identity.')
output LIFEBOAT_BACKUP_PRINCIPAL_ID string = identities.outputs.backup.principalId

@description('Name of the keeper.')
output LIFEBOAT_KEEPER_APP string = names.keeperApp

@description('Name of the vault\'s account.')
output LIFEBOAT_VAULT_NAME string = vault.outputs.name

@description('Blob endpoint of the vault.')
output LIFEBOAT_VAULT_URL string = vault.outputs.blobEndpoint

@description('Name of the landing account. Empty: there is none.')
output LIFEBOAT_LANDING_NAME string = chosen.landing ? landing!.outputs.name : ''

@description('Blob endpoint of landing. Empty: there is none.')
output LIFEBOAT_LANDING_URL string = chosen.landing ? landing!.outputs.blobEndpoint : ''

@description('Name of the Key Vault.')
output LIFEBOAT_KEY_VAULT_NAME string = keyVault.outputs.name

@description('Address of the Key Vault.')
output LIFEBOAT_KEY_VAULT_URL string = keyVault.outputs.uri

@description('What the vault holds against who may delete: none, dates or locked.')
output LIFEBOAT_IMMUTABILITY string = chosen.immutability

@description('How everything is reached: public, integrated or private.')
output LIFEBOAT_NETWORK string = chosen.network

@description('Resource id of the virtual network. Empty: there is none.')
output LIFEBOAT_VIRTUAL_NETWORK_ID string = hasNetwork ? network!.outputs.vnetId : ''

@description('The address from which the apps come. Empty: Azure has many.')
output LIFEBOAT_OUTBOUND_ADDRESS string = hasNetwork ? network!.outputs.outboundAddress : ''

@description('Address of the VPN gateway. Empty: there is none.')
output LIFEBOAT_GATEWAY_ADDRESS string = hasNetwork ? network!.outputs.gatewayAddress : ''
