// A VPN gateway and, once the device before the stamp is known, the connection to it. The key that both ends share is in
// no template: whoever may see deployments would see it. It is set by a command, which is printed after provisioning.

import { Tags } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags Tags

@minLength(2)
@maxLength(64)
@description('Name of the network that it belongs to.')
param name string

@description('The subnet GatewaySubnet of that network.')
param subnetId string

@description('Public address of the VPN device before the stamp. Empty: not connected yet.')
param stampGateway string

@description('Address ranges behind it.')
param stampRanges string[]

var isConnected = !empty(stampGateway)

resource address 'Microsoft.Network/publicIPAddresses@2025-01-01' = {
  name: 'pip-${name}-gateway'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  zones: ['1', '2', '3'] // the gateway's kind is spread over zones
  properties: {
    publicIPAllocationMethod: 'Static'
    publicIPAddressVersion: 'IPv4'
  }
}

resource gateway 'Microsoft.Network/virtualNetworkGateways@2025-01-01' = {
  name: 'vgw-${name}'
  location: location
  tags: tags
  properties: {
    gatewayType: 'Vpn'
    vpnType: 'RouteBased'
    vpnGatewayGeneration: 'Generation1'
    sku: {
      name: 'VpnGw1AZ'
      tier: 'VpnGw1AZ'
    }
    ipConfigurations: [
      {
        name: 'default'
        properties: {
          publicIPAddress: {
            id: address.id
          }
          subnet: {
            id: subnetId
          }
        }
      }
    ]
  }
}

resource stamp 'Microsoft.Network/localNetworkGateways@2025-01-01' = if (isConnected) {
  name: 'lgw-${name}-stamp'
  location: location
  tags: tags
  properties: {
    gatewayIpAddress: stampGateway
    localNetworkAddressSpace: {
      addressPrefixes: stampRanges
    }
  }
}

resource connection 'Microsoft.Network/connections@2025-01-01' = if (isConnected) {
  name: 'con-${name}-stamp'
  location: location
  tags: tags
  properties: {
    connectionType: 'IPsec'
    connectionProtocol: 'IKEv2'
    virtualNetworkGateway1: {
      id: gateway.id
      properties: {}
    }
    localNetworkGateway2: {
      id: stamp.id
      properties: {}
    }
  }
}

@description('Public address of the gateway.')
output address string = address.properties.ipAddress
