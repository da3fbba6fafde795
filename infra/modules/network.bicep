// The virtual network through which the apps reach the stamp: a subnet for each app, one for private endpoints, and, where
// the shape has a gateway of its own, one for that. Towards the Internet the apps have one fixed address, so that the
// firewall before the stamp can be opened for exactly that.

import { NetworkAddresses, Tags } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags Tags

@minLength(2)
@maxLength(64)
@description('Name of the virtual network; what belongs to it is named after it.')
param name string

@minLength(1)
@maxLength(80)
@description('Name of the subnet for private endpoints.')
param endpointSubnetName string

@description('Whether there are private endpoints.')
param endpoints bool

@description('How it is laid out, and what it is connected to.')
param addresses NetworkAddresses

@description('A VPN gateway of its own.')
param gateway bool

var hasHub = !empty(addresses.hubId)

// --- what may come in ---

// Nothing comes in to the apps' subnets: they only go out. What belongs to the platform comes by the load balancer.
resource appRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = {
  name: 'nsg-${name}-apps'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'nothing-from-the-internet'
        properties: {
          description: 'An app answers by its own host name, never in this subnet.'
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource endpointRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = if (endpoints) {
  name: 'nsg-${name}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'https-from-the-networks'
        properties: {
          description: 'The apps, SQL Server in the stamp, and who restores; by whatever network is connected.'
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '443'
        }
      }
      {
        name: 'nothing-else'
        properties: {
          description: 'Every endpoint speaks https alone.'
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

// --- the way out ---

resource outbound 'Microsoft.Network/publicIPAddresses@2025-01-01' = {
  name: 'pip-${name}-outbound'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
    publicIPAddressVersion: 'IPv4'
  }
}

resource nat 'Microsoft.Network/natGateways@2025-01-01' = {
  name: 'ng-${name}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    idleTimeoutInMinutes: 10 // a BACKUP statement is silent for longer than the usual four minutes
    publicIpAddresses: [
      {
        id: outbound.id
      }
    ]
  }
}

// --- the network ---

resource vnet 'Microsoft.Network/virtualNetworks@2025-01-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [addresses.space]
    }
    dhcpOptions: {
      dnsServers: addresses.dnsServers
    }
  }

  // Of this size an app can grow to as many instances as it is allowed; the keeper's timers need a few at most.
  resource backupSubnet 'subnets' = {
    name: 'backup-app'
    properties: {
      addressPrefix: cidrSubnet(addresses.space, 25, 0)
      defaultOutboundAccess: false
      delegations: [
        {
          name: 'flex-consumption'
          properties: {
            serviceName: 'Microsoft.App/environments'
          }
        }
      ]
      networkSecurityGroup: {
        id: appRules.id
      }
      natGateway: {
        id: nat.id
      }
      // By which a landing account that is open to listed addresses only knows it, and which leads to storage beside the NAT
      // gateway. With private endpoints nothing goes that way.
      serviceEndpoints: endpoints ? [] : [{ service: 'Microsoft.Storage' }]
    }
  }

  resource keeperSubnet 'subnets' = {
    name: 'keeper-app'
    properties: {
      addressPrefix: cidrSubnet(addresses.space, 27, 4)
      defaultOutboundAccess: false
      delegations: [
        {
          name: 'flex-consumption'
          properties: {
            serviceName: 'Microsoft.App/environments'
          }
        }
      ]
      networkSecurityGroup: {
        id: appRules.id
      }
      natGateway: {
        id: nat.id
      }
    }
    dependsOn: [
      backupSubnet // Azure changes one subnet of a network at a time
    ]
  }

  resource endpointSubnet 'subnets' = if (endpoints) {
    name: endpointSubnetName
    properties: {
      addressPrefix: cidrSubnet(addresses.space, 27, 5)
      defaultOutboundAccess: false
      privateEndpointNetworkPolicies: 'Enabled'
      networkSecurityGroup: {
        id: endpointRules.id
      }
    }
    dependsOn: [
      keeperSubnet
    ]
  }

  // Its name is Azure's; it takes no security group.
  resource gatewaySubnet 'subnets' = if (gateway) {
    name: 'GatewaySubnet'
    properties: {
      addressPrefix: cidrSubnet(addresses.space, 27, 6)
      defaultOutboundAccess: false
    }
    dependsOn: [
      keeperSubnet // there may be no endpointSubnet, and then nothing is waited for by way of it
      endpointSubnet
    ]
  }
}

// --- the way to the stamp ---

// This half of the peering; the hub's half is its owner's, and is printed as a command.
resource toHub 'Microsoft.Network/virtualNetworks/virtualNetworkPeerings@2025-01-01' = if (hasHub) {
  parent: vnet
  name: 'to-hub'
  properties: {
    remoteVirtualNetwork: {
      id: addresses.hubId
    }
    allowVirtualNetworkAccess: true
    allowForwardedTraffic: true
    allowGatewayTransit: false
    useRemoteGateways: addresses.useHubGateway
  }
  dependsOn: [
    vnet::keeperSubnet
    vnet::endpointSubnet
    vnet::gatewaySubnet
  ]
}

module vpn 'vpnGateway.bicep' = if (gateway) {
  name: 'vpn'
  params: {
    location: location
    tags: tags
    name: name
    subnetId: vnet::gatewaySubnet.id
    stampGateway: addresses.stampGateway
    stampRanges: addresses.stampRanges
  }
}

@description('Resource id of the network.')
output vnetId string = vnet.id

@description('Subnet of the backup app.')
output backupSubnetId string = vnet::backupSubnet.id

@description('Subnet of the keeper.')
output keeperSubnetId string = vnet::keeperSubnet.id

@description('The address from which the apps come, where they go by the Internet.')
output outboundAddress string = outbound.properties.ipAddress

@description('Address of the VPN gateway. Empty: there is none.')
output gatewayAddress string = gateway ? vpn!.outputs.address : ''
