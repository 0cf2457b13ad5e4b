"""The infrastructure: that its templates are sound, and that they say what the app and the documents say.

Azure is not here to deploy to; docs and the workflow name what only it can tell.
"""

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from shared import cache_table, configs, events, quota_table, resources, responses, usage_table
from shared.call_log import CallLog
from shared.model_map import ModelMap
from shared.settings import Settings
from tests import bicep
from tests.processes import ROOT

CHECKER = ROOT.parent / "shared" / "tools" / "bicep-check" / "bicep_check.py"
PARAMETERS = json.loads((bicep.INFRA / "main.parameters.json").read_text("utf-8"))["parameters"]
WORKBOOK = json.loads((bicep.INFRA / "modules" / "workbook.json").read_text("utf-8"))
DEPLOYMENTS = PARAMETERS["deployments"]["value"]
REGION = {"location": "germanywestcentral", "deployments": DEPLOYMENTS, "priority": 2}
TEMPLATES = pytest.mark.parametrize("name", sorted(bicep.files()))
ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd": "Cognitive Services OpenAI User",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
}
# Settings and properties that Flex Consumption has no use for, and may refuse:
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
NOT_ON_FLEX = """
    ENABLE_ORYX_BUILD FUNCTIONS_EXTENSION_VERSION FUNCTIONS_WORKER_RUNTIME FUNCTIONS_WORKER_RUNTIME_VERSION
    FUNCTIONS_MAX_HTTP_CONCURRENCY FUNCTIONS_WORKER_PROCESS_COUNT FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED
    SCM_DO_BUILD_DURING_DEPLOYMENT WEBSITE_RUN_FROM_PACKAGE WEBSITE_CONTENTAZUREFILECONNECTIONSTRING
    WEBSITE_CONTENTSHARE WEBSITE_CONTENTOVERVNET WEBSITE_SKIP_CONTENTSHARE_VALIDATION WEBSITE_VNET_ROUTE_ALL
    WEBSITE_DNS_SERVER WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT
    alwaysOn containerSize ftpsState functionAppScaleLimit isReserved isXenon javaVersion linuxFxVersion
    netFrameworkVersion powerShellVersion preWarmedInstanceCount use32BitWorkerProcess vnetRouteAllEnabled
    windowsFxVersion
"""


def main_template(name: str = "hackday", **given: Any) -> bicep.Template:
    values = {"name": name, "deployments": DEPLOYMENTS, "extraRegions": [REGION], **given}
    return bicep.Template(bicep.INFRA / "main.bicep", **values)


def app_template(**given: Any) -> bicep.Template:
    return bicep.Template(bicep.INFRA / "modules" / "app.bicep", **given)


def own_settings() -> dict[str, str]:
    """The app settings that every deployment has, from what its modules would tell."""
    endpoints = {service: f"https://x.{service}.core.windows.net/" for service in ("blob", "table")}
    app = app_template(
        clientId="the-client-id",
        openAiEndpoint="https://x.openai.azure.com/",
        modelMap=main_template().output("modelMap"),
        storage={"properties": {"primaryEndpoints": endpoints}},
    )
    return {name: str(value) for name, value in app.variable("ownSettings").items()}


def settings_type() -> set[str]:
    """The app settings that may be given besides."""
    declared = bicep.text(bicep.files()["types"].types["Settings"])
    return set(re.findall(r"^\s*([A-Z_]+): string\?$", declared, re.MULTILINE))


def by_path(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part)
    return value


# The templates


@pytest.mark.skipif(not CHECKER.is_file(), reason="the Bicep checker is not at hand")
def test_the_templates_agree_with_the_types_of_azures_resources() -> None:
    files = map(str, sorted(bicep.INFRA.rglob("*.bicep")))
    command = [sys.executable, str(CHECKER), "--strict", *files]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@TEMPLATES
def test_no_output_tells_a_secret(name: str) -> None:
    template = bicep.files()[name]
    for node in template.outputs.values():
        said = bicep.text(node)
        assert not re.search(r"list[A-Z]\w*\(|ConnectionString|settings\b|[kK]eys?\b", said), said


def test_settings_that_may_hold_secrets_are_never_shown() -> None:
    types = bicep.text(bicep.files()["types"].root)
    assert re.search(r"@secure\(\)\n(@\w.*\n)*type Settings =", types)
    for name in ("main", "app"):
        assert "param settings Settings" in bicep.text(bicep.files()[name].root)


@pytest.mark.parametrize(
    ("module", "resource", "path", "value"),
    [
        ("storage", "account", "properties.allowBlobPublicAccess", False),
        ("storage", "account", "properties.allowSharedKeyAccess", False),
        ("storage", "account", "properties.minimumTlsVersion", "TLS1_2"),
        ("storage", "account", "properties.supportsHttpsTrafficOnly", True),
        ("openai", "account", "properties.disableLocalAuth", True),
        ("monitoring", "insights", "properties.DisableLocalAuth", True),
        ("app", "site", "properties.httpsOnly", True),
        ("app", "site", "properties.siteConfig.minTlsVersion", "1.2"),
        ("app", "publishing", "properties.allow", False),
        ("vault", "vault", "properties.enableRbacAuthorization", True),
        ("app", "plan", "sku.name", "FC1"),
        ("app", "site", "properties.functionAppConfig.runtime.name", "python"),
        ("app", "site", "properties.functionAppConfig.runtime.version", "3.13"),
    ],
)
def test_there_are_no_keys_and_no_plain_text(
    module: str, resource: str, path: str, value: object
) -> None:
    template = bicep.files()[module]
    assert by_path(template.value(template.resources[resource][1], {}), path) == value


def test_everyone_has_the_roles_that_are_needed_and_no_others() -> None:
    given: dict[str, set[str]] = {}
    for template in bicep.files().values():
        for kind, body in template.resources.values():
            if kind == "Microsoft.Authorization/roleAssignments":
                properties = template.value(body, {})["properties"]
                who = properties["principalId"].expression
                given.setdefault(who, set()).add(ROLES[properties["roleDefinitionId"]])
    assert given == {
        "appPrincipalId": set(ROLES.values()) - {"Key Vault Secrets Officer"},
        "organiserPrincipalId": {
            "Storage Table Data Contributor",
            "Cognitive Services OpenAI User",
            "Key Vault Secrets Officer",
        },
    }


def test_the_tables_are_those_of_the_app() -> None:
    made = bicep.files()["storage"].variable("tableNames")
    modules = (events, resources, configs, quota_table, usage_table, cache_table, responses)
    assert {module.TABLE for module in modules} | {"attendees"} == set(made)


# Names


@pytest.mark.parametrize(
    "name",
    ["hackday", "H", "--", "My_Hack.Event (2026)", "日本", "9-lives", "x" * 64, "-a-", "São Paulo"],
)
def test_whatever_the_environment_is_called_the_names_are_good_ones(name: str) -> None:
    template = main_template(name)
    app_name = template.variable("appName")
    assert re.fullmatch(r"[a-z0-9]{3,24}", template.variable("storageName"))
    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", template.variable("vaultName"))
    assert len(template.variable("vaultName")) <= 24
    # Of the longest part of its name that the host tells apps by, 32 characters, nothing is cut off.
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", app_name) and len(app_name) <= 32
    (extra,) = template.variable("extraResources")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", extra["account"])
    assert len(extra["account"]) <= 64


def test_two_environments_in_a_group_have_names_of_their_own() -> None:
    first, second = main_template("hack.day"), main_template("hackday")
    for variable in ("appName", "storageName", "vaultName"):
        assert first.variable(variable) != second.variable(variable)


# What is derived from the deployments


def test_the_deployments_are_what_the_gateway_reads_as_its_model_map() -> None:
    entries = ModelMap.parse(main_template().output("modelMap")).entries
    assert [(each.model, each.deployment, each.flags) for each in entries] == [
        (each["model"], each["name"], frozenset(each.get("flags", []))) for each in DEPLOYMENTS
    ]


def test_a_deployment_may_have_any_flags_that_the_model_map_knows() -> None:
    deployment = {"model": "m", "name": "d", "flags": ["reasoning", "auto"]}
    types = bicep.files()["types"]
    assert types.call("modelMap", [deployment, {"model": "n", "name": "n"}]) == (
        "m|d;reasoning;auto,n|n"
    )
    flags = re.search(r"flags: \((.*)\)\[\]\?", bicep.text(types.types["Deployment"]))
    assert flags
    assert (
        set(re.findall(r"'(\w+)'", flags[1]))
        == ModelMap.parse("m|d;reasoning;auto").entries[0].flags
    )


def test_an_extra_region_is_a_resource_that_can_be_added_as_the_next_commands_say() -> None:
    template = main_template("São Paulo")
    (row,) = template.output("resources")
    resource = resources.check(
        {
            "name": row["name"],
            "endpoint": row["endpoint"],
            "model_map": row["modelMap"],
            "priority": row["priority"],
        }
    )
    assert (
        f".venv/bin/python manage.py resources add {resource.name} --endpoint {resource.endpoint} "
        f"--model-map '{resource.model_map}' --priority 2"
    ) in template.output("nextCommands")


def test_the_parameters_file_gives_what_has_no_default_and_nothing_unknown() -> None:
    declared = bicep.files()["main"].parameters
    assert {name for name, has_default in declared.items() if not has_default} <= set(PARAMETERS)
    assert set(PARAMETERS) <= set(declared)
    members = re.findall(
        r"^  (\w+):", bicep.text(bicep.files()["types"].types["Deployment"]), re.MULTILINE
    )
    assert all(set(each) <= set(members) for each in DEPLOYMENTS)


# App settings


def test_the_app_starts_from_the_settings_of_a_deployment() -> None:
    settings = Settings.from_environ(own_settings())
    assert settings.endpoint == "https://x.openai.azure.com"
    assert settings.storage.table_service_uri == "https://x.table.core.windows.net"
    assert settings.storage.client_id == "the-client-id"
    assert settings.api_key is None and settings.storage.connection_string is None


def test_the_templates_the_app_the_readme_and_the_example_name_the_same_settings() -> None:
    fields = {field.alias: field for field in Settings.model_fields.values() if field.alias}
    needed = {name for name, field in fields.items() if field.is_required()}
    of_the_host = re.compile("AzureWebJobs|APPLICATIONINSIGHTS_|AZURE_CLIENT_ID$")
    ours = {name for name in own_settings() if not of_the_host.match(name)}
    assert {name.partition("__")[0] for name in ours} == needed
    # A key is given only by those who cannot do without one.
    assert settings_type() == set(fields) - needed - {"AZURE_OPENAI_API_KEY"}
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in {*own_settings(), *settings_type()}:
        assert f"`{name}`" in readme or of_the_host.match(name), name
    assert "`AZURE_CLIENT_ID`" in readme
    example = json.loads((ROOT / "local.settings.example.json").read_text("utf-8"))["Values"]
    assert needed <= set(example)


def test_nothing_is_set_that_flex_consumption_has_no_use_for() -> None:
    app = bicep.files()["app"]
    said = {bicep.text(node) for node in bicep.descend(app.root) if not node.children}
    said |= settings_type()
    assert not {each.lower() for each in NOT_ON_FLEX.split()} & {each.lower() for each in said}
    scale = by_path(
        app.value(app.resources["site"][1], {}),
        "properties.functionAppConfig.scaleAndConcurrency",
    )
    # Left out, an instance would take one call at a time.
    assert scale["triggers"]["http"]["perInstanceConcurrency"].expression == (
        "perInstanceConcurrency"
    )
    assert main_template().variable("perInstanceConcurrency") == 100


def test_no_instance_is_paid_for_that_nobody_asked_for() -> None:
    idle = app_template(alwaysReady=main_template().variable("alwaysReady"))
    warm = app_template(alwaysReady=2)
    path = "properties.functionAppConfig.scaleAndConcurrency.alwaysReady"
    assert by_path(idle.value(idle.resources["site"][1], {}), path) == []
    assert by_path(warm.value(warm.resources["site"][1], {}), path) == [
        {"name": "http", "instanceCount": 2}
    ]


def test_azd_finds_the_app_by_the_name_of_its_service() -> None:
    app = bicep.files()["app"]
    tags = app.value(app.resources["site"][1], {})["tags"]
    service = re.search(r"^services:\n  (\S+):", (ROOT / "azure.yaml").read_text(), re.MULTILINE)
    assert service and service[1] == tags["azd-service-name"]


# The workbook and the alerts


def queries() -> dict[str, str]:
    """All queries over the log or the metrics, by their titles."""
    items = WORKBOOK["variables"]["content"]["items"]
    found = {"calls": WORKBOOK["variables"]["calls"]}
    found |= {item["name"]: item["content"]["query"] for item in items[1:]}
    alerts = bicep.files()["alerts"].variable("rules")
    return found | {rule["name"]: rule["query"] for rule in alerts}


def test_the_log_has_the_members_that_the_queries_ask_for(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    async def write() -> None:
        CallLog().write(200)
        await asyncio.sleep(0.2)

    asyncio.run(write())
    line = capsysbinary.readouterr().out.decode()
    calls = queries()["calls"]
    asked = set(re.findall(r"\bcall\.(\w+)", calls))
    assert "message has 'request_id'" in calls and "request_id" in asked
    assert asked <= set(json.loads(line))


def test_the_queries_know_the_errors_and_the_metrics_by_their_names() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "shared").glob("*.py"))
    for title, query in queries().items():
        for name in re.findall(r"'([a-z]+[._][a-z._]+)'", query):
            assert f'"{name}"' in sources, (title, name)
    capped = re.search(r"capped = tostring\(call.error\) in \((.*)\)", queries()["calls"])
    assert capped
    caps = (ROOT / "shared" / "caps.py").read_text("utf-8")
    assert set(re.findall(r"'(\w+)'", capped[1])) == set(re.findall(r'code="(\w+)"', caps))


def test_there_are_three_alerts_over_the_same_calls_as_the_workbook() -> None:
    alerts = bicep.files()["alerts"]
    assert len(alerts.variable("rules")) == 3
    loaded = "loadJsonContent('workbook.json', 'variables.calls')"
    assert alerts.variable("calls").expression == loaded


def test_every_tile_shows_the_calls_chosen() -> None:
    parameters, *tiles = WORKBOOK["variables"]["content"]["items"]
    names = {each["name"] for each in parameters["content"]["parameters"]}
    assert names == {"calls", "time", "event", "model"}
    for tile in tiles:
        query = tile["content"]["query"]
        assert tile["content"]["timeContextFromParameter"] == "time"
        assert query.startswith(("{calls}\n", "customMetrics\n"))
        assert set(re.findall(r"\{(\w+)", query)) <= names
