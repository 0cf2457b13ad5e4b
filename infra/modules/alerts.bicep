// Three alerts by mail: calls fail, capacity is short, something is set up wrongly. docs/runbook.md says what to do.

param name string
param location string
param tags object
param insightsName string
param emails string[]

var calls = loadJsonContent('workbook.json', 'variables.calls')
var rules = [
  {
    name: 'calls-fail'
    title: 'Gateway: one call in ten fails'
    description: 'Of the calls of 15 minutes at least a tenth, and five, were answered with 5xx or broken off.'
    severity: 1
    query: '''
| summarize failed = countif(status >= 500 or (status < 400 and error != '')), requests = count()
| where failed >= 5 and failed * 10 >= requests
'''
  }
  {
    name: 'capacity-short'
    title: 'Gateway: the capacity is short'
    description: 'Of the calls of 15 minutes at least one in twenty, and five, found every deployment busy.'
    severity: 2
    query: '''
| summarize busy = countif(error == 'upstream_busy'), requests = count()
| where busy >= 5 and busy * 20 >= requests
'''
  }
  {
    name: 'set-up-wrongly'
    title: 'Gateway: something is set up wrongly'
    description: 'A setting is wrong, the tables cannot be reached, or a deployment answers 401, 403 or 404.'
    severity: 1
    query: '''
| where error in ('configuration_error', 'event_store_unavailable') or tostring(attempts) matches regex '"outcome":(401|403|404)'
'''
  }
]

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource organiser 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: name
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'gateway'
    enabled: true
    emailReceivers: [for (address, place) in emails: {
      name: 'organiser ${place + 1}'
      emailAddress: address
      useCommonAlertSchema: true
    }]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = [for rule in rules: {
  name: '${name}-${rule.name}'
  location: location
  tags: tags
  properties: {
    displayName: rule.title
    description: rule.description
    severity: rule.severity
    enabled: true
    scopes: [insights.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: '${calls}\n${rule.query}'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: { actionGroups: [organiser.id] }
  }
}]
