// The settings of Lifeboat that are handed to the apps. What each means, and its default, is in the README's table.
//
// Not here: addresses and the role, which main.bicep knows better than anybody; passwords and keys, which Lifeboat reads
// from the Key Vault; LIFEBOAT_RESTORE_*, which belong to the command line of the person who restores.

@minLength(2)
@maxLength(13)
@description('A number and a unit: 90s, 15m, 26h or 30d.')
type Duration = string

@minLength(1)
@maxLength(6)
@description('A whole number.')
type Count = string

@minLength(2)
@maxLength(7)
@description('A number and a unit: 512M, 4G or 1T.')
type Size = string

@minLength(1)
@maxLength(6)
@description('A number from 0 to 1.')
type Fraction = string

@minLength(11)
@maxLength(100)
@description('NCRONTAB with six fields, in UTC.')
type Schedule = string

@description('Yes or no.')
type Flag = 'true' | 'false'

@export()
@description('Settings of an app, by name.')
type AppSettings = {
  *: string
}

@export()
@sealed()
@description('Settings of Lifeboat by the names that they have in the README, without the prefix LIFEBOAT_. A name that is not here is refused.')
type Settings = {
  // Share
  SHARE_URL: string?
  SHARE_USERNAME: string?
  SHARE_MODE: ('read' | 'adopt')?
  SHARE_ADOPT_PATH: string?
  SHARE_MAX_AGE: Duration?
  SHARE_INCLUDE: string?
  SHARE_EXCLUDE: string?
  SHARE_TOLERATE: string?
  SHARE_ACL: Flag?
  SHARE_PREVIOUS_VERSION: ('off' | 'newest' | 'require')?
  SHARE_PREVIOUS_VERSION_MAX_AGE: Duration?
  SHARE_MAX_SHRINK: Fraction?
  SHARE_LOOK_EVERY: Duration?

  // Databases
  SQL_SERVER: string?
  SQL_USERNAME: string?
  SQL_DATABASES: string?
  SQL_MODE: ('url' | 'disk' | 'adopt')?
  SQL_DRIVER: string?
  SQL_TRUST_SERVER_CERTIFICATE: Flag?
  SQL_SERVER_CERTIFICATE: string?
  SQL_SAS: ('user-delegation' | 'account-key')?
  SQL_COMPRESSION: Flag?
  SQL_OWN_LOG_CHAIN: Flag?
  SQL_FULL_EVERY: Duration?
  SQL_STATEMENT_LIMIT: Duration?
  SQL_DISK_PATH: string?
  SQL_DISK_URL: string?
  SQL_DISK_USERNAME: string?
  SQL_PATH_MAP: string?
  DRILL_SQL_SERVER: string?
  DRILL_SQL_USERNAME: string?
  PREFLIGHT_BACKUP: Flag?

  // What is promised
  RPO_DATABASES: Duration?
  RPO_SHARE: Duration?
  RPO_SECRETS: Duration?
  EXPIRY_WARNING: Duration?
  VERIFY_WITHIN: Duration?
  DRILL_SHARE_SAMPLE: Size?
  APP_SERVICE_BUILD: string?

  // What is kept
  KEEP_LAST: Count?
  KEEP_HOURLY: Count?
  KEEP_DAILY: Count?
  KEEP_WEEKLY: Count?
  KEEP_MONTHLY: Count?
  KEEP_YEARLY: Count?
  KEEP_WITHIN: Duration?
  PROTECT_FOR: Duration?
  PRUNE_WAIT: Duration?
  PRUNE_MAX_UNUSED: Fraction?
  PRUNE_MAX_REPACK: Size?
  UNDELETE_FOR: Duration?

  // When, and in how many steps
  SCHEDULE_BACKUP: Schedule?
  SCHEDULE_LOGS: Schedule?
  SCHEDULE_WATCHDOG: Schedule?
  SCHEDULE_VERIFY: Schedule?
  SCHEDULE_DRILL: Schedule?
  SCHEDULE_PROTECT: Schedule?
  SCHEDULE_RETENTION: Schedule?
  SCHEDULE_PRUNE: Schedule?
  SHARDS: Count?
  WINDOW: Count?
  SHARD_BUDGET: Duration?
  LOCK_WAIT: Duration?

  STORAGE_API_VERSION: string?
  DEBUG: Flag?
}

@description('What the keeper reads; the rest is none of its business.')
var keeperNames = [
  'DEBUG'
  'KEEP_DAILY'
  'KEEP_HOURLY'
  'KEEP_LAST'
  'KEEP_MONTHLY'
  'KEEP_WEEKLY'
  'KEEP_WITHIN'
  'KEEP_YEARLY'
  'LOCK_WAIT'
  'PROTECT_FOR'
  'PRUNE_MAX_REPACK'
  'PRUNE_MAX_UNUSED'
  'PRUNE_WAIT'
  'SCHEDULE_PROTECT'
  'SCHEDULE_PRUNE'
  'SCHEDULE_RETENTION'
  'SHARE_MAX_SHRINK'
  'STORAGE_API_VERSION'
  'UNDELETE_FOR'
]

@export()
@description('App settings of the backup app: all, with their prefix; empty ones count as absent and are left out.')
func backupSettings(settings Settings) AppSettings =>
  toObject(filter(items(settings), each => !empty(each.?value)), each => 'LIFEBOAT_${each.?key}', each => each.?value)

@export()
@description('App settings of the keeper: those of them that it reads.')
func keeperSettings(settings Settings) AppSettings =>
  toObject(
    filter(items(settings), each => !empty(each.?value) && contains(keeperNames, each.?key)),
    each => 'LIFEBOAT_${each.?key}',
    each => each.?value
  )
