// The gateway and all that it needs, in one resource group.
targetScope = 'resourceGroup'

import { Deployment, Region, Settings, modelMap } from 'types.bicep'

@description('What this gateway is called; letters and digits of it begin the names of the resources.')
@minLength(1)
@maxLength(64)
param name string

@description('The region of everything but the models.')
param location string = resourceGroup().location

@description('The organiser\'s object id, who may then manage events. Empty: nobody is given a role.')
param principalId string = ''

@description('The models that are deployed and served, the first one to calls that name none.')
@minLength(1)
param deployments Deployment[]

@description('The region of the Azure OpenAI account.')
param openAiLocation string = location

@description('An account that is there already, of whose deployments `deployments` tells. Empty: one is created.')
param openAiAccount { name: string?, resourceGroup: string? } = {}

@description('More regions, each with an account of its own.')
param extraRegions Region[] = []

@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances that are kept, and paid for, when there are no calls.')
@minValue(0)
param alwaysReady int = 0

@description('Calls at once per instance. They wait for Azure OpenAI most of the time; Flex Consumption gives Python one.')
@minValue(1)
@maxValue(1000)
param perInstanceConcurrency int = 100

@description('Origins of web pages that may call; * for all.')
param corsOrigins string[] = []

@description('Whether there is a Key Vault, for the keys of other APIs.')
param keyVault bool = false

@description('Further app settings. What stands neither here nor below is removed by a deployment.')
param settings Settings = {}

@description('Who gets the alerts and the budget\'s messages. Empty: there are no alerts.')
param alertEmails string[] = []

@description('Of the resource group, in the currency of the subscription. 0: no budget.')
@minValue(0)
param monthlyBudget int = 0

@description('The first day of the month in which the budget was first deployed, YYYY-MM-01: Azure lets nobody change it.')
param budgetStart string = ''

@description('The most gigabytes of logs per day; later ones are lost.')
@minValue(1)
param dailyLogGB int = 1

param tags object = {}

// Names have lower-case letters and digits only, whatever `name` has, and fit the shortest limit, that of
// storage accounts: 24.
var token = uniqueString(resourceGroup().id, name)
var characters = map(range(0, length(name)), place => substring(toLower(name), place, 1))
var slug = join(filter(characters, each => contains('abcdefghijklmnopqrstuvwxyz0123456789', each)), '')
var prefix = empty(slug) ? 'gateway' : take(slug, 16)
var appName = '${prefix}-${token}'
var storageName = '${take(prefix, 11)}${token}'
var vaultName = 'kv-${token}'

var allTags = union(tags, { 'azd-env-name': name })
var extraResources = map(extraRegions, region => {
  name: region.location
  account: '${prefix}-${region.location}-${token}'
  endpoint: 'https://${prefix}-${region.location}-${token}.openai.azure.com'
  deployments: region.deployments
  modelMap: modelMap(region.deployments)
  priority: region.?priority ?? 1
})

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: appName
  location: location
  tags: allTags
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  params: {
    name: storageName
    location: location
    tags: allTags
    appPrincipalId: identity.properties.principalId
    organiserPrincipalId: principalId
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  params: {
    name: appName
    location: location
    tags: allTags
    appPrincipalId: identity.properties.principalId
    dailyLogGB: dailyLogGB
  }
}

module openAi 'modules/openai.bicep' = if (empty(openAiAccount)) {
  name: 'openai'
  params: {
    name: appName
    location: openAiLocation
    tags: allTags
    deployments: deployments
  }
}

module openAiAccess 'modules/openai-access.bicep' = {
  name: 'openai-access'
  scope: resourceGroup(openAiAccount.?resourceGroup ?? resourceGroup().name)
  params: {
    name: openAiAccount.?name ?? appName
    appPrincipalId: identity.properties.principalId
    organiserPrincipalId: principalId
  }
  dependsOn: [openAi]
}

module extraOpenAi 'modules/openai.bicep' = [for extra in extraResources: {
  name: 'openai-${extra.name}'
  params: {
    name: extra.account
    location: extra.name
    tags: allTags
    deployments: extra.deployments
  }
}]

module extraAccess 'modules/openai-access.bicep' = [for extra in extraResources: {
  name: 'openai-access-${extra.name}'
  params: {
    name: extra.account
    appPrincipalId: identity.properties.principalId
    organiserPrincipalId: principalId
  }
  dependsOn: [extraOpenAi]
}]

module vault 'modules/vault.bicep' = if (keyVault) {
  name: 'vault'
  params: {
    name: vaultName
    location: location
    tags: allTags
    appPrincipalId: identity.properties.principalId
    organiserPrincipalId: principalId
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  params: {
    name: appName
    location: location
    tags: allTags
    identityId: identity.id
    clientId: identity.properties.clientId
    storageName: storage.outputs.name
    deploymentContainer: storage.outputs.deploymentContainer
    insightsName: monitoring.outputs.insightsName
    openAiEndpoint: openAiAccess.outputs.endpoint
    modelMap: modelMap(deployments)
    settings: settings
    corsOrigins: corsOrigins
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReady: alwaysReady
    perInstanceConcurrency: perInstanceConcurrency
  }
}

// It finds the log by its own name.
module workbook 'modules/workbook.json' = {
  name: appName
  dependsOn: [monitoring]
}

module alerts 'modules/alerts.bicep' = if (!empty(alertEmails)) {
  name: 'alerts'
  params: {
    name: appName
    location: location
    tags: allTags
    insightsName: monitoring.outputs.insightsName
    emails: alertEmails
  }
}

module budget 'modules/budget.bicep' = if (monthlyBudget > 0) {
  name: 'budget'
  params: {
    name: appName
    amount: monthlyBudget
    start: budgetStart
    emails: alertEmails
  }
}

output url string = app.outputs.url
output functionAppName string = appName
output tableServiceUri string = storage.outputs.tableServiceUri
output openAiEndpoint string = openAiAccess.outputs.endpoint
output modelMap string = modelMap(deployments)
output keyVaultName string = keyVault ? vaultName : ''

@description('The rows that belong into the table `resources`: those of the extra regions.')
output resources array = map(extraResources, extra => {
  name: extra.name
  endpoint: extra.endpoint
  modelMap: extra.modelMap
  priority: extra.priority
})

@description('What there is left to do, one command each.')
output nextCommands array = concat(
  [
    'python3 infra/hooks/package.py'
    'func azure functionapp publish ${appName} --python --no-build'
    'export EVENT_STORAGE= EVENT_STORAGE__tableServiceUri=${storage.outputs.tableServiceUri}'
  ],
  map(
    extraResources,
    extra => '.venv/bin/python manage.py resources add ${extra.name} --endpoint ${extra.endpoint} --model-map \'${extra.modelMap}\' --priority ${extra.priority}'
  ),
  [
    '.venv/bin/python manage.py events add --name "My event" --end YYYY-MM-DDTHH:MM'
    'curl ${app.outputs.url}/health'
  ]
)
