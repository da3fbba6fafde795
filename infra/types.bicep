// The words of the infrastructure: what main.bicep, its shapes and its modules hand to each other.

import { Settings } from 'settings.bicep'

@export()
@description('A way to deploy that is promised. What each stands for is in shapes.bicep.')
type ShapeName = 'plain' | 'private-network' | 'locked-immutability' | 'disk-log-chain' | 'smallest' | 'everything'

@export()
@description('How the apps reach the stamp and the storage accounts: public: by public addresses alone, no virtual network; integrated: out through subnets of a virtual network, with one fixed address; private: that, and every data plane by private endpoints only.')
type NetworkMode = 'public' | 'integrated' | 'private'

@export()
@description('What the vault holds against who may delete: none: versions alone; dates: support for version-level immutability, so that the keeper can lock each blob; locked: that, a default policy on the container of databases, and a lock on the account.')
type Immutability = 'none' | 'dates' | 'locked'

@export()
@description('A choice of values, named by ShapeName.')
@sealed()
type Shape = {
  network: NetworkMode

  @description('A VPN gateway of our own in the virtual network; without it the network can be peered to one that has the way to the stamp.')
  gateway: bool

  immutability: Immutability

  @description('Redundancy of the vault and of landing.')
  vaultSku: StorageSku
  landingSku: StorageSku

  @description('A landing account, into which SQL Server writes. Not needed in SQL mode disk.')
  landing: bool

  @description('Days after which backups in the vault go to a cooler tier; 0: never, since everything is read back within VERIFY_WITHIN and a cool tier charges for that.')
  @minValue(0)
  @maxValue(3650)
  tierAfterDays: int

  @description('Change feed of the vault: a log of every write, which costs.')
  changeFeed: bool

  @description('Memory of an instance of the backup app.')
  instanceMemoryMB: 512 | 2048 | 4096

  @description('One instance of the backup app is kept running for Durable Functions.')
  alwaysReady: bool

  @description('Days that logs and metrics stay searchable.')
  @minValue(30)
  @maxValue(730)
  logDays: int

  @description('The workbook: pages of charts over what alerts look at.')
  workbook: bool

  @description('Sign-in to the dashboard by Entra ID.')
  dashboard: bool

  @description('Settings of Lifeboat that the shape stands for; what the operator sets goes before them.')
  settings: Settings
}

@export()
@description('Redundancy of a storage account.')
type StorageSku =
  | 'Standard_LRS'
  | 'Standard_ZRS'
  | 'Standard_GRS'
  | 'Standard_RAGRS'
  | 'Standard_GZRS'
  | 'Standard_RAGZRS'

@export()
@description('Tags of a resource.')
type Tags = {
  *: string
}

@export()
@description('A user-assigned identity, as identities.bicep makes it.')
@sealed()
type Identity = {
  @description('Resource id.')
  id: string
  clientId: string
  principalId: string
}

@export()
@description('Where the Functions host of an app keeps its locks, queues and tables.')
@sealed()
type HostEndpoints = {
  blob: string
  queue: string
  table: string
}

@export()
@description('How the virtual network is laid out, and how it reaches the stamp.')
@sealed()
type NetworkAddresses = {
  @description('Address space of the virtual network: a /24 or larger.')
  space: string

  @description('Resource id of a virtual network that has the way to the stamp (a hub): it is peered with. The other half of the peering is printed as a command after provisioning. Empty: none.')
  hubId: string

  @description('The hub has a gateway that this network may use.')
  useHubGateway: bool

  @description('With a gateway of our own: public address of the VPN device before the stamp. Empty: the gateway is made, the connection is not.')
  stampGateway: string

  @description('Address ranges behind the stamp: routes to them go through the gateway.')
  stampRanges: string[]

  @description('DNS servers that know the names of the stamp. Empty: those of Azure.')
  dnsServers: string[]
}

@export()
@description('What alerts go by; each is a parameter of its own so that nobody edits a query.')
@sealed()
type Thresholds = {
  @description('Hours without a sign of life of the watchdog (it looks every hour).')
  @minValue(2)
  @maxValue(48)
  watchdogSilentHours: int

  @description('Hours without a sign of life of the keeper (it acts every day).')
  @minValue(26)
  @maxValue(48)
  keeperSilentHours: int

  @description('Days before a certificate among the secrets expires.')
  @minValue(1)
  @maxValue(365)
  expiryDays: int

  @description('Bytes added to the vault in seven days, divided by those of the seven before.')
  @minValue(2)
  @maxValue(1000)
  growthRatio: int

  @description('GiB in seven days below which growth is no news, whatever the ratio.')
  @minValue(0)
  @maxValue(1000000)
  growthLeastGiB: int

  @description('Failed function invocations within an hour.')
  @minValue(1)
  @maxValue(1000)
  functionErrors: int

  @description('Throttled requests to a storage account within fifteen minutes.')
  @minValue(1)
  @maxValue(100000)
  throttledRequests: int

  @description('Blobs deleted in the vault within an hour by somebody else than the keeper.')
  @minValue(1)
  @maxValue(100000)
  foreignDeletions: int
}

@export()
@description('Who is told of alerts.')
@sealed()
type Receivers = {
  @description('E-mail addresses.')
  emails: string[]

  @secure()
  @description('A webhook that takes the common alert schema; it often carries a token in its URL. Empty: none.')
  webhook: string
}
