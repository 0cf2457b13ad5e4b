// Who may call an Azure OpenAI account, new or there already.

param name string
param appPrincipalId string
param organiserPrincipalId string

var openAiUser = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'
)

resource account 'Microsoft.CognitiveServices/accounts@2025-12-01' existing = {
  name: name
}

resource appCalls 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipalId, openAiUser)
  scope: account
  properties: {
    roleDefinitionId: openAiUser
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// For `manage.py resources check`.
resource organiserCalls 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(organiserPrincipalId)) {
  name: guid(account.id, organiserPrincipalId, openAiUser)
  scope: account
  properties: {
    roleDefinitionId: openAiUser
    principalId: organiserPrincipalId
  }
}

output endpoint string = account.properties.endpoint
