// One of the two apps, on a Flex Consumption plan of its own (a plan holds one app).

import { AppSettings } from '../settings.bicep'
import { HostEndpoints, Identity, Tags } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags Tags

@minLength(2)
@maxLength(60)
@description('Name of the app, and of its host.')
param name string

@minLength(1)
@maxLength(40)
@description('Name of its plan.')
param planName string

@description('Service in azure.yaml whose code it runs.')
param serviceName 'backup' | 'keeper'

@description('Who the app is. It has no other identity.')
param identity Identity

@description('Endpoints of its host storage.')
param hostEndpoints HostEndpoints

@description('Where its code lies.')
param codeContainerUrl string

@description('Memory of an instance.')
param instanceMemoryMB 512 | 2048 | 4096

@minValue(40)
@maxValue(1000)
@description('Instances at most, of each group of functions.')
param maximumInstances int

@description('One instance for Durable Functions is kept running.')
param alwaysReady bool

@description('Subnet through which it goes out. Empty: by Azure\'s own addresses.')
param subnetId string

@description('What of it answers on a public address: app: everything; deployment: only the site that takes new code, and that by Entra ID; none: nothing.')
param publicAccess 'app' | 'deployment' | 'none'

@description('Settings of Lifeboat, with their prefix.')
param lifeboatSettings AppSettings

@description('Of Application Insights. It names the place and is no secret there, since local authentication is off.')
param connectionString string

@description('App registration by which people sign in to the dashboard. Empty: nobody can.')
param authClientId string

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': serviceName })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: publicAccess == 'none' ? 'Disabled' : 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    keyVaultReferenceIdentity: identity.id
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: '3.12'
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: codeContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReady ? [{ name: 'durable', instanceCount: 1 }] : []
      }
    }
    // Nothing about FTP here: Flex Consumption has none, and refuses the setting (extended code 51021).
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: publicAccess == 'app' ? 'Allow' : 'Deny'
      scmIpSecurityRestrictionsDefaultAction: publicAccess == 'none' ? 'Deny' : 'Allow'
      scmIpSecurityRestrictionsUseMain: false
    }
  }

  resource settings 'config' = {
    name: 'appsettings'
    properties: union(
      {
        AzureWebJobsStorage__credential: 'managedidentity'
        AzureWebJobsStorage__clientId: identity.clientId
        AzureWebJobsStorage__blobServiceUri: hostEndpoints.blob
        AzureWebJobsStorage__queueServiceUri: hostEndpoints.queue
        AzureWebJobsStorage__tableServiceUri: hostEndpoints.table
        AZURE_CLIENT_ID: identity.clientId
        APPLICATIONINSIGHTS_CONNECTION_STRING: connectionString
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.clientId};Authorization=AAD'
        // The worker hands its context to OpenTelemetry; what is sent, and by whom, is shared/telemetry_export.py's.
        PYTHON_ENABLE_OPENTELEMETRY: 'true'
      },
      empty(authClientId)
        ? {}
        : {
            // The name is the platform's: the app's identity answers for the app registration, so that there is no secret.
            OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identity.clientId
            WEBSITE_AUTH_AAD_ALLOWED_TENANTS: tenant().tenantId
          },
      lifeboatSettings
    )
  }

  // Code comes by Entra ID alone: no user name and password of the site is good for anything.
  resource ftpPassword 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    #disable-next-line BCP187 // its type has none, and without it Azure refuses it (Azure/bicep-types-az#1571)
    location: location
    properties: {
      allow: false
    }
  }

  resource deploymentPassword 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    #disable-next-line BCP187 // its type has none, and without it Azure refuses it (Azure/bicep-types-az#1571)
    location: location
    properties: {
      allow: false
    }
  }

  resource signIn 'config' = if (!empty(authClientId)) {
    name: 'authsettingsV2'
    properties: {
      platform: {
        enabled: true
      }
      globalValidation: {
        // The API asks for its function keys, the dashboard for a signed-in principal: the app decides, route by route.
        requireAuthentication: false
        unauthenticatedClientAction: 'AllowAnonymous'
      }
      httpSettings: {
        requireHttps: true
      }
      identityProviders: {
        azureActiveDirectory: {
          enabled: true
          registration: {
            clientId: authClientId
            clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
            openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
          }
        }
      }
      login: {
        tokenStore: {
          enabled: false // who it is comes with each request; no token of theirs is needed
        }
      }
    }
    dependsOn: [
      settings // it names one of them
    ]
  }
}

@description('Resource id of the app.')
output id string = app.id

@description('Host name of the app.')
output hostName string = app.properties.defaultHostName
