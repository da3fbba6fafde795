// Where everything is told to: the logs, the app insights that write into them, and who hears of alerts.

import { Receivers, Tags } from '../types.bicep'

@description('Region of the logs. The action group is of no region.')
param location string

@description('Tags of every resource.')
param tags Tags

@description('Name of the Log Analytics workspace.')
@minLength(4)
@maxLength(63)
param workspaceName string

@description('Name of the Application Insights component.')
@minLength(1)
@maxLength(255)
param appInsightsName string

@description('Name of the action group.')
@minLength(1)
@maxLength(260)
param actionGroupName string

@description('Days that logs and metrics stay searchable.')
@minValue(30)
@maxValue(730)
param logDays int

@description('Who is told of alerts. With nobody in it alerts are still raised, and seen in the portal alone.')
param receivers Receivers

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: logDays
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
    // No daily cap: what fills the logs could otherwise keep the alerts from seeing the rest of the day.
    workspaceCapping: { dailyQuotaGb: -1 }
  }
}

resource appInsights 'Microsoft.Insights/components@2020-02-02' = {
  name: appInsightsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
    SamplingPercentage: 100
  }
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'Lifeboat'
    emailReceivers: [
      for (address, index) in receivers.emails: {
        name: 'email-${index + 1}'
        emailAddress: address
        useCommonAlertSchema: true
      }
    ]
    webhookReceivers: empty(receivers.webhook)
      ? []
      : [
          {
            name: 'webhook'
            serviceUri: receivers.webhook
            useCommonAlertSchema: true
          }
        ]
  }
}

@description('Resource id of the workspace.')
output workspaceId string = workspace.id

@description('Where telemetry is sent to. No credential: without local authentication the sender needs a role.')
output connectionString string = appInsights.properties.ConnectionString

@description('Resource id of the action group.')
output actionGroupId string = actionGroup.id
