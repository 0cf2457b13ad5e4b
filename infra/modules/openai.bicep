// An Azure OpenAI account and its deployments. Without keys.

import { Deployment } from '../types.bicep'

param name string
param location string
param tags object
param deployments Deployment[]

resource account 'Microsoft.CognitiveServices/accounts@2025-12-01' = {
  name: name
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: { name: 'S0' }
  properties: {
    customSubDomainName: name
    disableLocalAuth: true
    publicNetworkAccess: 'Enabled'
  }
}

// One after the other: Azure refuses a second change of an account while the first is under way.
@batchSize(1)
resource models 'Microsoft.CognitiveServices/accounts/deployments@2025-12-01' = [for each in deployments: {
  parent: account
  name: each.name
  sku: {
    name: each.sku
    capacity: each.capacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: each.model
      version: each.version
    }
    versionUpgradeOption: 'OnceCurrentVersionExpired'
  }
}]
