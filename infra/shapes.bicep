// The ways to deploy that are promised, one for each file in shapes/. The values live here; the files only name the shape.

import { Shape } from 'types.bicep'

@description('For most: public endpoints that take Entra ID alone, one fixed address towards the stamp, locked dates.')
var plain = {
  network: 'integrated'
  gateway: false
  immutability: 'dates'
  vaultSku: 'Standard_ZRS'
  landingSku: 'Standard_LRS'
  landing: true
  tierAfterDays: 0
  changeFeed: false
  instanceMemoryMB: 2048
  alwaysReady: false
  logDays: 90
  workbook: true
  dashboard: true
  settings: {}
}

@export()
@description('What each shape stands for.')
var shapes {
  *: Shape
} = {
  plain: plain

  // Nothing answers on a public address. SQL Server reaches landing by the private endpoint too.
  'private-network': union(plain, { network: 'private' })

  // What is written is locked from its first second where that can be, and for longer; the account cannot be deleted.
  'locked-immutability': union(plain, {
    immutability: 'locked'
    settings: {
      PROTECT_FOR: '35d'
      UNDELETE_FOR: '60d'
    }
  })

  // SQL Server 2014, Express, or a stamp whose SQL Server may not reach Azure; log backups four times an hour.
  'disk-log-chain': union(plain, {
    landing: false
    settings: {
      SQL_MODE: 'disk'
      SQL_OWN_LOG_CHAIN: 'true'
      SCHEDULE_LOGS: '0 */15 * * * *'
      RPO_DATABASES: '2h'
    }
  })

  // The least that backs up and restores. Nothing is locked: who has every right can delete every backup, and `azd down` works.
  smallest: union(plain, {
    network: 'public'
    immutability: 'none'
    vaultSku: 'Standard_LRS'
    logDays: 30
    workbook: false
    dashboard: false
    settings: {
      PROTECT_FOR: '0s'
    }
  })

  everything: {
    network: 'private'
    gateway: true
    immutability: 'locked'
    vaultSku: 'Standard_GZRS'
    landingSku: 'Standard_ZRS'
    landing: true
    tierAfterDays: 90
    changeFeed: true
    instanceMemoryMB: 4096
    alwaysReady: true
    logDays: 365
    workbook: true
    dashboard: true
    settings: {
      SQL_OWN_LOG_CHAIN: 'true'
      PROTECT_FOR: '35d'
      UNDELETE_FOR: '60d'
    }
  }
}
