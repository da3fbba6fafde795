// A page of charts over what alerts look at: how backups go over weeks, and what the bill follows. Each chart has its query
// in infra/queries/workbook.

import { Tags } from '../types.bicep'

@description('Region of the workbook.')
param location string

@description('Tags of the workbook.')
param tags Tags

@description('Resource id of the Log Analytics workspace.')
param workspaceId string

@sealed()
@description('A chart, or a table.')
type Chart = {
  title: string
  query: string
  kind: 'linechart' | 'barchart' | 'table'

  @description('Takes the whole width of the page.')
  wide: bool?
}

@sealed()
@description('Charts that answer one question.')
type Section = {
  title: string

  @description('How to read it.')
  text: string
  charts: Chart[]
}

var sections Section[] = [
  {
    title: 'How old the backups are'
    text: 'Age of each component\'s newest good backup, as a part of what its RPO allows: above 100 % it is late. Now, and from anywhere: `python lifeboat.py status`'
    charts: [
      {
        title: 'Age, in percent of the RPO'
        query: loadTextContent('../queries/workbook/age-against-rpo.kql')
        kind: 'linechart'
        wide: true
      }
    ]
  }
  {
    title: 'Recovery points'
    text: 'What one is made of: `python lifeboat.py show ID`'
    charts: [
      {
        title: 'The newest recovery points'
        query: loadTextContent('../queries/workbook/points.kql')
        kind: 'table'
        wide: true
      }
      {
        title: 'How long they took, in minutes'
        query: loadTextContent('../queries/workbook/durations.kql')
        kind: 'barchart'
      }
      {
        title: 'The share: files, and GiB read'
        query: loadTextContent('../queries/workbook/share-size.kql')
        kind: 'linechart'
      }
      {
        title: 'Added to the vault each day, in GiB'
        query: loadTextContent('../queries/workbook/stored.kql')
        kind: 'barchart'
      }
      {
        title: 'Of the share\'s bytes that were read, stored because they were new, in percent'
        query: loadTextContent('../queries/workbook/stored-of-read.kql')
        kind: 'linechart'
      }
    ]
  }
  {
    title: 'Proof'
    text: 'Drills restore for real and measure how long it takes; verifications read back what is stored.'
    charts: [
      {
        title: 'Drills'
        query: loadTextContent('../queries/workbook/drills.kql')
        kind: 'table'
        wide: true
      }
      {
        title: 'Measured RTO, in minutes'
        query: loadTextContent('../queries/workbook/rto.kql')
        kind: 'linechart'
      }
      {
        title: 'Read back each day, in GiB, and what was damaged'
        query: loadTextContent('../queries/workbook/verifications.kql')
        kind: 'linechart'
      }
    ]
  }
  {
    title: 'What the bill follows'
    text: 'Stored bytes, requests, traffic and logs. What a month costs for a given share and retention: `python lifeboat.py cost`'
    charts: [
      {
        title: 'Added to the vault within seven days, in GiB'
        query: loadTextContent('../queries/workbook/added-in-a-week.kql')
        kind: 'linechart'
      }
      {
        title: 'Protected, removed and waiting'
        query: loadTextContent('../queries/workbook/kept.kql')
        kind: 'table'
      }
      {
        title: 'Requests each day'
        query: loadTextContent('../queries/workbook/requests.kql')
        kind: 'barchart'
      }
      {
        title: 'Writes and deletions each day'
        query: loadTextContent('../queries/workbook/writes-and-deletions.kql')
        kind: 'barchart'
      }
      {
        title: 'Traffic each day, in GiB'
        query: loadTextContent('../queries/workbook/traffic.kql')
        kind: 'barchart'
      }
      {
        title: 'Logs each day, in GB'
        query: loadTextContent('../queries/workbook/logs.kql')
        kind: 'barchart'
      }
    ]
  }
]

var timeRange = {
  type: 9
  name: 'parameters'
  content: {
    version: 'KqlParameterItem/1.0'
    style: 'pills'
    parameters: [
      {
        id: guid('time-range')
        version: 'KqlParameterItem/1.0'
        name: 'TimeRange'
        label: 'Time'
        type: 4
        isRequired: true
        typeSettings: {
          allowCustom: true
          selectableValues: map([1, 7, 14, 30, 90], days => { durationMs: days * 86400000 })
        }
        value: { durationMs: 2592000000 }
      }
    ]
  }
}

@description('Text on the page, as workbooks have it.')
type Text = {
  type: int
  name: string
  content: { json: string }
}

@description('A chart on the page, as workbooks have it.')
type Item = {
  type: int
  name: string
  customWidth: string
  content: {
    version: string
    query: string
    title: string
    size: int
    timeContextFromParameter: string
    queryType: int
    resourceType: string
    visualization: string
  }
}

func headline(section Section) Text => {
  type: 1
  name: section.title
  content: { json: '## ${section.title}\n${section.text}' }
}

func item(chart Chart) Item => {
  type: 3
  name: chart.title
  customWidth: chart.?wide ?? false ? '100' : '50'
  content: {
    version: 'KqlItem/1.0'
    query: chart.query
    title: chart.title
    size: 0
    timeContextFromParameter: 'TimeRange'
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    visualization: chart.kind
  }
}

var page = {
  version: 'Notebook/1.0'
  items: concat(
    [timeRange],
    flatten(map(sections, section => concat([headline(section)], map(section.charts, chart => item(chart)))))
  )
  fallbackResourceIds: ['{workspace}']
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  // The name of a workbook is a GUID; what is seen is displayName.
  name: guid(resourceGroup().id, 'lifeboat')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Lifeboat'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: replace(string(page), '{workspace}', workspaceId)
  }
}
