// An alert for each storage account that answers slower than it is asked.

import { Tags } from '../types.bicep'

@description('Tags of every alert.')
param tags Tags

@description('What the name of each alert begins with.')
@minLength(1)
@maxLength(60)
param namePrefix string

@description('Resource ids of the storage accounts, by a word for each.')
param accounts {
  *: string
}

@description('Resource id of the action group.')
param actionGroupId string

@description('Throttled requests within fifteen minutes.')
@minValue(1)
@maxValue(100000)
param throttledRequests int

resource alerts 'Microsoft.Insights/metricAlerts@2026-01-01' = [
  for account in items(accounts): {
    name: '${namePrefix}throttling-${account.key}'
    location: 'global'
    tags: tags
    properties: {
      enabled: true
      description: 'The storage account ${last(split(account.value, '/'))} refuses requests because there are too many: runs take longer, and may fail. Run fewer steps at once: azd env set LIFEBOAT_WINDOW 4, and azd provision. How many requests there are: az monitor metrics list --resource ${account.value} --metric Transactions --dimension ResponseType --interval PT15M -o table'
      severity: 2
      scopes: [account.value]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT15M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: 'throttled'
            metricNamespace: 'Microsoft.Storage/storageAccounts'
            metricName: 'Transactions'
            timeAggregation: 'Total'
            operator: 'GreaterThanOrEqual'
            threshold: throttledRequests
            dimensions: [
              {
                name: 'ResponseType'
                operator: 'Include'
                values: [
                  'ClientAccountBandwidthThrottlingError'
                  'ClientAccountRequestThrottlingError'
                  'ClientThrottlingError'
                  'ServerBusyError'
                  'SuccessWithThrottling'
                ]
              }
            ]
            // A new account has no metric yet.
            skipMetricValidation: true
          }
        ]
      }
      actions: [{ actionGroupId: actionGroupId }]
    }
  }
]
