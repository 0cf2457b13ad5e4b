// The parameters' types, and what is made of them in more than one place.

@export()
@description('A deployment of a model, and so an entry of the model map.')
type Deployment = {
  @description('The model, by the name that Azure and the callers use: gpt-5.4-mini.')
  model: string
  @description('Its version, as `az cognitiveservices model list -l REGION` shows it.')
  version: string
  @description('The name of the deployment.')
  name: string
  @description('GlobalStandard, DataZoneStandard, Standard, GlobalProvisionedManaged, ...')
  sku: string
  @description('Thousands of tokens per minute; of provisioned throughput, its units.')
  capacity: int
  @description('What the deployment does not take: docs/resources.md.')
  flags: ('reasoning' | 'auto')[]?
}

@export()
@description('A region with an account of its own: another resource beside `default`.')
type Region = {
  location: string
  deployments: Deployment[]
  @description('As in docs/resources.md; without it 1, that of `default`: both are used alike.')
  priority: int?
}

@export()
@secure()
@description('App settings that may be given; README.md says what each means.')
type Settings = {
  AZURE_OPENAI_API_VERSION: string?
  AZURE_OPENAI_MAX_IN_FLIGHT: string?
  REQUEST_MAX_BYTES: string?
  UPSTREAM_CONNECT_TIMEOUT_S: string?
  UPSTREAM_FIRST_BYTE_TIMEOUT_S: string?
  UPSTREAM_IDLE_TIMEOUT_S: string?
  FAILOVER_AFTER_S: string?
  MAX_ATTEMPTS: string?
  BREAKER_FAILURES: string?
  QUEUE_TIMEOUT_S: string?
  STREAM_KEEP_ALIVE_S: string?
  USAGE_DELAY_S: string?
  ALLOW_OWN_RESOURCE: string?
  @description('Keys of other resources, as Key Vault references.')
  *: string
}

@export()
@description('`model|deployment;flag,model|deployment`, in the order of the deployments.')
func modelMap(deployments array) string => join(
  map(deployments, each => '${each.model}|${join(concat([each.name], each.?flags ?? []), ';')}'),
  ','
)
