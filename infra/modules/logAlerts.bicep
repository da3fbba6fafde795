// Alerts that ask the logs. Each has its query in infra/queries/alerts under its own name; what a query goes by is filled
// in here. What happened is in the description, with the command that comes next: it is what the mail shows.
//
// Three kinds of news. Something happened: the alert is raised once, and nobody can say that it is over. Something is the
// case: the watchdog says so each hour, and the alert ends when it no longer does. Nothing was heard at all. What takes
// longer to go wrong than the two days that a log alert can see, the watchdog works out and carries.

import { Tags, Thresholds } from '../types.bicep'

@description('Region of the workspace.')
param location string

@description('Tags of every alert.')
param tags Tags

@description('What the name of each alert begins with.')
@minLength(1)
@maxLength(60)
param namePrefix string

@description('Resource id of the Log Analytics workspace.')
param workspaceId string

@description('Resource id of the action group.')
param actionGroupId string

@description('Name of the storage account of the vault.')
param vaultName string

@description('Resource id of the Key Vault.')
param keyVaultId string

@description('Who reads and adds: object id of the backup app\'s identity.')
param backupPrincipalId string

@description('Who protects and deletes: object id of the keeper app\'s identity.')
param keeperPrincipalId string

@description('Object id of the identity of the agent on the file server. Empty: there is none.')
param agentPrincipalId string

@description('When alerts fire.')
param thresholds Thresholds

@description('The keeper sets dates each day. Where it does not, its retention is the sign of life.')
param protects bool

@description('An alert: what it asks, when that is bad news, and what to do then.')
@sealed()
type Rule = {
  @description('Of the alert, and of its query in infra/queries/alerts.')
  name: string
  title: string

  @description('0: what is kept is in danger; 1: nothing good is being made; 2: it will be bad if nobody looks; 3: to be known.')
  severity: 0 | 1 | 2 | 3

  @description('happened: raised once. state: ends when it is no longer so. silence: nothing was heard; ends when something is.')
  kind: 'happened' | 'state' | 'silence'

  @description('With its values filled in.')
  query: string

  @description('One alert for each value of these columns, none of which is ever empty.')
  by: string[]?

  @description('Column with the number that counts; left out: the rows are counted.')
  measure: string?

  @description('From this number on. Left out: 1.')
  least: int?

  @description('How far back the query looks. Left out: an hour for what happened, what the watchdog is given for a state.')
  window: string?

  description: string
}

@description('What is put into the {places} of a query, by their names.')
type Values = {
  *: string
}

@description('A query with its {places} filled in.')
func fill(query string, values Values) string =>
  reduce(items(values), query, (text, each) => replace(text, '{${each.key}}', each.value))

@description('The smallest window that a log alert may have and that holds so many hours.')
func windowOf(hours int) string => hours <= 6 ? 'PT${hours}H' : hours <= 24 ? 'P1D' : 'P2D'

var group = resourceGroup().name
var vaultLog = 'az monitor log-analytics query -w $(az monitor log-analytics workspace list -g ${group} --query [0].customerId -o tsv) --analytics-query "StorageBlobLogs | where AccountName == \'${vaultName}\' and Category != \'StorageRead\' | sort by TimeGenerated desc" -t P2D'
var keyVaultLog = 'az monitor log-analytics query -w $(az monitor log-analytics workspace list -g ${group} --query [0].customerId -o tsv) --analytics-query "AZKVAuditLogs | sort by TimeGenerated desc" -t P2D'
var apps = 'az functionapp list -g ${group} -o table'

var rules Rule[] = [
  {
    name: 'repository-damaged'
    title: 'Backups are damaged'
    severity: 0
    kind: 'state'
    // What a run or prune finds is an event alone, and the newest verification may be of one point that is good: until the
    // daily round has looked again, it is not over.
    window: 'P1D'
    query: loadTextContent('../queries/alerts/repository-damaged.kql')
    description: 'Something stored in the vault is not what was written. The alert ends when nothing was found for a day: the daily verification looks again at what was damaged. See what is damaged, and which recovery points need it: python lifeboat.py check --read-data. Blobs that somebody has changed come back by: python lifeboat.py undelete --dry-run. Then make a new recovery point, which stores again what is missing: python lifeboat.py backup'
  }
  {
    name: 'vault-tampered'
    title: 'Somebody has deleted or overwritten backups'
    severity: 0
    kind: 'happened'
    query: loadTextContent('../queries/alerts/vault-tampered.kql')
    description: 'The keeper found blobs of the vault deleted or overwritten by somebody else. See what would come back: python lifeboat.py undelete --dry-run; bring it back, as somebody with the role for it: python lifeboat.py undelete. Find out who it was before the next prune, which deletes nothing meanwhile: ${vaultLog}'
  }
  {
    name: 'vault-deletions'
    title: 'Blobs of the vault are being deleted'
    severity: 0
    kind: 'happened'
    least: thresholds.foreignDeletions
    query: fill(loadTextContent('../queries/alerts/vault-deletions.kql'), {
      vault: vaultName
      keeper: keeperPrincipalId
      backup: backupPrincipalId
      agent: agentPrincipalId
    })
    description: 'Somebody else than the keeper deletes in the vault. If it is none of you with the break-glass role, take that identity\'s rights away first (az role assignment list --scope $(az storage account show -n ${vaultName} -g ${group} --query id -o tsv) --include-inherited -o table), then bring back what went: python lifeboat.py undelete. Who it was: ${vaultLog}'
  }
  {
    name: 'vault-foreign-writes'
    title: 'A stranger writes into the vault'
    severity: 1
    kind: 'happened'
    query: fill(loadTextContent('../queries/alerts/vault-foreign-writes.kql'), {
      vault: vaultName
      keeper: keeperPrincipalId
      backup: backupPrincipalId
      agent: agentPrincipalId
    })
    description: 'Something was written into the vault by an identity that has no business there, or into the keeper\'s journal (recovery-points/prunes/) by somebody else than the keeper: a forged journal hides a deletion. If it is none of you with the break-glass role, see who it was: ${vaultLog}, take that identity\'s rights away, and hold what is there against what the points need: python lifeboat.py check'
  }
  {
    name: 'key-vault-deletions'
    title: 'Secrets are being deleted'
    severity: 0
    kind: 'happened'
    query: fill(loadTextContent('../queries/alerts/key-vault-deletions.kql'), { keyVault: keyVaultId })
    description: 'A secret, or the Key Vault itself, was deleted; nothing of Lifeboat does that. Without the repository password nothing can be restored. See what is gone: az keyvault secret list-deleted --vault-name ${last(split(keyVaultId, '/'))} -o table; bring it back: az keyvault secret recover --vault-name ${last(split(keyVaultId, '/'))} --name NAME. Who it was: ${keyVaultLog}'
  }
  {
    name: 'secrets-read'
    title: 'A person has read secrets'
    severity: 3
    kind: 'happened'
    query: fill(loadTextContent('../queries/alerts/secrets-read.kql'), {
      keyVault: keyVaultId
      keeper: keeperPrincipalId
      backup: backupPrincipalId
    })
    description: 'Somebody else than the two apps has read secrets from the Key Vault: the repository password opens every backup, SystemSecrets.JSON all of App Service. That is so during a restore. If nobody restores, see who it was: ${keyVaultLog}, and who may: az role assignment list --scope ${keyVaultId} --include-inherited -o table'
  }
  {
    name: 'watchdog-silent'
    title: 'The watchdog is silent'
    severity: 1
    kind: 'silence'
    measure: 'Signs'
    window: windowOf(thresholds.watchdogSilentHours)
    query: fill(loadTextContent('../queries/alerts/watchdog-silent.kql'), {
      hours: string(thresholds.watchdogSilentHours)
    })
    description: 'For ${thresholds.watchdogSilentHours} hours nobody has looked after the backups, so no other alert can be trusted: the backup app does not run, or its telemetry does not arrive. (In the first hours after a deployment it has not looked yet.) See whether it runs: ${apps}; start it: az functionapp restart -g ${group} -n NAME. From anywhere: python lifeboat.py status, and python lifeboat.py preflight --only telemetry'
  }
  {
    name: 'watchdog-blind'
    title: 'The watchdog cannot see everything'
    severity: 1
    kind: 'state'
    by: ['Code']
    query: loadTextContent('../queries/alerts/watchdog-blind.kql')
    description: 'The watchdog runs, and could not look at the vault, or not read every record of the last two weeks, so what it says is not all. Code is the reason, as the README lists them; records-unreadable: that one. Look from here: python lifeboat.py status; find what is in the way: python lifeboat.py preflight --only vault'
  }
  {
    name: 'point-failed'
    title: 'A recovery point failed'
    severity: 1
    kind: 'happened'
    by: ['Code']
    query: loadTextContent('../queries/alerts/point-failed.kql')
    description: 'A recovery point came to nothing. Code is the reason, as the README lists them, and the search results have it in words; see-point: a record was made, which has the reasons: python lifeboat.py show ID (python lifeboat.py points lists the ids). Find what is in the way: python lifeboat.py preflight. When it is gone, do not wait for the night: python lifeboat.py backup'
  }
  {
    name: 'component-late'
    title: 'Backups are older than they may be'
    severity: 1
    kind: 'state'
    by: ['Component', 'Databases']
    query: loadTextContent('../queries/alerts/component-late.kql')
    description: 'The newest good backup of this component is older than its RPO (LIFEBOAT_RPO_...), or there is none, whatever else was told or not; Databases are those that are late. See which, and since when: python lifeboat.py status. Find what is in the way: python lifeboat.py preflight --only COMPONENT; then: python lifeboat.py backup --only COMPONENT. Secrets that did not change are confirmed: python lifeboat.py secrets confirm'
  }
  {
    name: 'point-partial'
    title: 'A recovery point is not whole'
    severity: 2
    kind: 'happened'
    by: ['Code']
    query: loadTextContent('../queries/alerts/point-partial.kql')
    description: 'A recovery point was made and something is missing from it: files that could not be read, a database, the secrets. See the reasons: python lifeboat.py show ID (python lifeboat.py points lists the ids), then: python lifeboat.py preflight'
  }
  {
    name: 'point-suspect'
    title: 'A recovery point is unlike those before'
    severity: 2
    kind: 'happened'
    query: loadTextContent('../queries/alerts/point-suspect.kql')
    description: 'A recovery point differs so much from those before it that retention takes no notice of it: files were deleted or encrypted on the share, or somebody writes garbage into the vault. Look at it: python lifeboat.py show ID (python lifeboat.py points lists the ids). If the share is meant to be so: python lifeboat.py backup --allow-shrink. If not, the points before it are kept: python lifeboat.py restore share --point ID --to FOLDER'
  }
  {
    name: 'drift'
    title: 'The secrets that are kept no longer fit'
    severity: 1
    kind: 'state'
    query: loadTextContent('../queries/alerts/drift.kql')
    description: 'App Service\'s passwords were rotated after SystemSecrets.JSON was kept: a restore with what is kept does not work. In the administrator portal, App Service, Secrets, download it, and: python lifeboat.py secrets put SystemSecrets.JSON. If they were not rotated: python lifeboat.py secrets confirm'
  }
  {
    name: 'certificate-expiry'
    title: 'A certificate ends soon'
    severity: 2
    kind: 'state'
    query: fill(loadTextContent('../queries/alerts/certificate-expiry.kql'), { days: string(thresholds.expiryDays) })
    description: 'A certificate among the secrets ends within ${thresholds.expiryDays} days, or has ended; App Service stops with it. See which: python lifeboat.py status. Rotate it in the administrator portal, App Service, Secrets, download SystemSecrets.JSON, and keep it: python lifeboat.py secrets put SystemSecrets.JSON'
  }
  {
    name: 'drill-failed'
    title: 'A drill failed'
    severity: 1
    kind: 'happened'
    by: ['Code']
    query: loadTextContent('../queries/alerts/drill-failed.kql')
    description: 'A restore for practice did not bring everything back, so a real one may not either. Code is the reason, as the README lists them. See what: python lifeboat.py status. Try again: python lifeboat.py drill, with an older point: python lifeboat.py drill --point ID'
  }
  {
    name: 'drill-overdue'
    title: 'No drill for too long'
    severity: 2
    kind: 'state'
    query: loadTextContent('../queries/alerts/drill-overdue.kql')
    description: 'The last drill is older than two of its periods (LIFEBOAT_SCHEDULE_DRILL): that backups can be restored is a belief by now. Run one: python lifeboat.py drill. If the timer does not, see whether the app runs: ${apps}'
  }
  {
    name: 'verification-failed'
    title: 'A verification could not be made'
    severity: 2
    kind: 'happened'
    by: ['Code']
    query: loadTextContent('../queries/alerts/verification-failed.kql')
    description: 'What is stored could not be read back, so nobody knows whether it is whole. Code is the reason, as the README lists them; no-repository: nothing was backed up yet, or somebody has emptied the vault (python lifeboat.py undelete --dry-run). Find what is in the way: python lifeboat.py preflight --only vault; then: python lifeboat.py verify'
  }
  {
    name: 'verification-overdue'
    title: 'No verification for too long'
    severity: 2
    kind: 'state'
    query: loadTextContent('../queries/alerts/verification-overdue.kql')
    description: 'The last verification is older than two of its periods (LIFEBOAT_SCHEDULE_VERIFY). Run one: python lifeboat.py verify. If the timer does not, see whether the app runs: ${apps}'
  }
  {
    name: 'protect-failed'
    title: 'Backups could not be protected'
    severity: 1
    kind: 'happened'
    by: ['Code']
    query: loadTextContent('../queries/alerts/protect-failed.kql')
    description: 'The keeper could not lock all that recovery points need: what has no date can be deleted by who has the rights, and dates run out. Code is the reason, as the README lists them; tampered: see python lifeboat.py undelete --dry-run; no-repository: nothing was backed up yet, or somebody has emptied the vault (python lifeboat.py undelete --dry-run). Find what is in the way: python lifeboat.py check, then, as the keeper: python lifeboat.py protect'
  }
  {
    name: 'prune-failed'
    title: 'Retention or prune failed'
    severity: 2
    kind: 'happened'
    by: ['Code']
    query: loadTextContent('../queries/alerts/prune-failed.kql')
    description: 'The keeper deleted nothing, or not all that it should have: nothing is lost, and the vault grows. Code is the reason, as the README lists them; no-repository: nothing was backed up yet, or somebody has emptied the vault (python lifeboat.py undelete --dry-run). See what it says and would do: python lifeboat.py prune --dry-run; what is damaged: python lifeboat.py check'
  }
  {
    name: 'keeper-silent'
    title: 'The keeper is silent'
    severity: 1
    kind: 'silence'
    measure: 'Runs'
    window: windowOf(thresholds.keeperSilentHours)
    query: fill(loadTextContent('../queries/alerts/keeper-silent.kql'), {
      hours: string(thresholds.keeperSilentHours)
      event: protects ? 'protect.completed' : 'prune.completed'
    })
    description: 'For ${thresholds.keeperSilentHours} hours the keeper has not ${protects ? 'protected what is kept' : 'looked at what may go'}: it does not run, or fails (then another alert says why). In the first days of a new vault it has nothing to do yet. See whether it runs: ${apps}; start it: az functionapp restart -g ${group} -n NAME. By hand, as the keeper: python lifeboat.py ${protects ? 'protect' : 'prune'}'
  }
  {
    name: 'log-chain-broken'
    title: 'A chain of log backups broke'
    severity: 3
    kind: 'happened'
    by: ['Database']
    query: loadTextContent('../queries/alerts/log-chain-broken.kql')
    description: 'Between two backups of this database there is a gap, so no moment in between can be restored; a new full backup begins a new chain by itself. The search results say what broke it: mostly another tool that backs up the log, or a change of the recovery model. See from where on a moment can be reached: python lifeboat.py restore databases --dry-run'
  }
  {
    name: 'settings-wrong'
    title: 'Settings are wrong'
    severity: 2
    kind: 'state'
    query: loadTextContent('../queries/alerts/settings-wrong.kql')
    description: 'Settings of the backup app are wrong or missing; what depends on them does not run. See which, and what they should be: python lifeboat.py preflight. Set them right: azd env set LIFEBOAT_NAME VALUE, and azd provision'
  }
  {
    name: 'function-errors'
    title: 'Functions fail'
    severity: 2
    kind: 'state'
    by: ['AppRoleName']
    measure: 'Failures'
    least: thresholds.functionErrors
    window: 'PT1H'
    query: loadTextContent('../queries/alerts/function-errors.kql')
    description: '${thresholds.functionErrors} or more invocations of this app failed within an hour, in a way that nobody foresaw. Whether backups suffer: python lifeboat.py status. What they say: az monitor app-insights query -g ${group} --apps $(az monitor app-insights component show -g ${group} --query [0].appId -o tsv) --analytics-query "exceptions | sort by timestamp desc | take 20"'
  }
  {
    name: 'size-jump'
    title: 'The vault grows faster'
    severity: 3
    kind: 'state'
    query: fill(loadTextContent('../queries/alerts/size-jump.kql'), {
      ratio: string(thresholds.growthRatio)
      least: string(thresholds.growthLeastGiB)
    })
    description: 'Within seven days ${thresholds.growthRatio} times as much was added to the vault as in the seven days before. New content, or content that was changed all at once: encrypted files are new in every byte. See which points are large: python lifeboat.py points, and what is in one: python lifeboat.py show ID'
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for rule in rules: {
    name: '${namePrefix}${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      enabled: true
      displayName: 'Lifeboat: ${rule.title}'
      description: rule.description
      severity: rule.severity
      scopes: [workspaceId]
      evaluationFrequency: rule.kind == 'happened' ? 'PT15M' : 'PT30M'
      windowSize: rule.?window ?? (rule.kind == 'happened' ? 'PT1H' : windowOf(thresholds.watchdogSilentHours))
      // In a new workspace tables come with their first row.
      skipQueryValidation: true
      autoMitigate: rule.kind != 'happened'
      // As long as the window: what is in it was told. The two exclude each other.
      ...(rule.kind == 'happened' ? { muteActionsDuration: 'PT1H' } : {})
      criteria: {
        allOf: [
          {
            query: rule.query
            operator: rule.kind == 'silence' ? 'LessThan' : 'GreaterThanOrEqual'
            threshold: rule.?least ?? 1
            timeAggregation: rule.?measure == null ? 'Count' : 'Maximum'
            ...(rule.?measure == null ? {} : { metricMeasureColumn: rule.?measure })
            dimensions: map(rule.?by ?? [], column => { name: column, operator: 'Include', values: ['*'] })
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [actionGroupId] }
    }
  }
]
