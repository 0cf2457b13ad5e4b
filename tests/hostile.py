"""Portkey headers that try to lead a call elsewhere, or to choke who reads them."""

import json
from typing import Any


def _targets(number: int) -> list[dict[str, Any]]:
    return [{"virtual_key": "one"}] * number


def _nested(depth: int) -> dict[str, Any]:
    config: dict[str, Any] = {"virtual_key": "one"}
    for _ in range(depth):
        config = {"strategy": {"mode": "single"}, "targets": [config]}
    return config


def _config(value: object) -> dict[str, str]:
    text = value if isinstance(value, str) else json.dumps(value)
    return {"x-portkey-config": text}


def _target(**members: object) -> dict[str, str]:
    good = {"virtual_key": "one"}
    return _config({"strategy": {"mode": "fallback"}, "targets": [good, {**good, **members}]})


# By what they try: the headers, and what the refusal names.
HOSTILE: dict[str, tuple[dict[str, str], str]] = {
    "host": ({"x-portkey-virtual-key": "evil.example"}, "x-portkey-virtual-key"),
    "host and port": ({"x-portkey-virtual-key": "evil:8080"}, "x-portkey-virtual-key"),
    "url": ({"x-portkey-virtual-key": "https://evil.example/"}, "x-portkey-virtual-key"),
    "no scheme": ({"x-portkey-virtual-key": "//evil.example"}, "x-portkey-virtual-key"),
    "metadata service": ({"x-portkey-virtual-key": "169.254.169.254"}, "x-portkey-virtual-key"),
    "IPv6": ({"x-portkey-virtual-key": "[::1]"}, "x-portkey-virtual-key"),
    "user": ({"x-portkey-virtual-key": "default@evil"}, "x-portkey-virtual-key"),
    "way up": ({"x-portkey-virtual-key": "../default"}, "x-portkey-virtual-key"),
    "way up, encoded": ({"x-portkey-virtual-key": "..%2fdefault"}, "x-portkey-virtual-key"),
    "fragment": ({"x-portkey-virtual-key": "default#"}, "x-portkey-virtual-key"),
    "query": ({"x-portkey-virtual-key": "default?x=1"}, "x-portkey-virtual-key"),
    "backslash": ({"x-portkey-virtual-key": "default\\evil"}, "x-portkey-virtual-key"),
    "quote": ({"x-portkey-virtual-key": "' or PartitionKey ge '"}, "x-portkey-virtual-key"),
    "tab": ({"x-portkey-virtual-key": "default\tevil"}, "x-portkey-virtual-key"),
    "look-alike": ({"x-portkey-virtual-key": "dеfault"}, "x-portkey-virtual-key"),
    "wide letters": ({"x-portkey-virtual-key": "ｄefault"}, "x-portkey-virtual-key"),
    "upper case": ({"x-portkey-virtual-key": "DEFAULT"}, "x-portkey-virtual-key"),
    "long name": ({"x-portkey-virtual-key": "a" * 41}, "x-portkey-virtual-key"),
    "provider's host": ({"x-portkey-provider": "@evil.example"}, "x-portkey-provider"),
    "provider's two at": ({"x-portkey-provider": "@@default"}, "x-portkey-provider"),
    "provider's url": ({"x-portkey-provider": "https://evil.example"}, "x-portkey-provider"),
    "custom host": ({"x-portkey-custom-host": "https://evil.example"}, "x-portkey-custom-host"),
    "forwarded headers": ({"x-portkey-forward-headers": "host"}, "x-portkey-forward-headers"),
    "Vertex": ({"x-portkey-vertex-project-id": "evil"}, "x-portkey-vertex-project-id"),
    "AWS": ({"x-portkey-aws-region": "evil.example/"}, "x-portkey-aws-region"),
    "SageMaker": (
        {"x-portkey-amzn-sagemaker-target-container-hostname": "evil"},
        "x-portkey-amzn-sagemaker-target-container-hostname",
    ),
    "Hugging Face": (
        {"x-portkey-huggingface-base-url": "https://evil.example"},
        "x-portkey-huggingface-base-url",
    ),
    "Foundry": (
        {"x-portkey-azure-foundry-url": "https://evil.example"},
        "x-portkey-azure-foundry-url",
    ),
    "Azure's endpoint": (
        {"x-portkey-azure-endpoint-name": "evil"},
        "x-portkey-azure-endpoint-name",
    ),
    "Azure's token": ({"x-portkey-azure-ad-token": "secret"}, "x-portkey-azure-ad-token"),
    "Azure's resource": (
        {"x-portkey-azure-resource-name": "evil.example/#"},
        "x-portkey-azure-resource-name",
    ),
    "Azure's deployment": (
        {"x-portkey-azure-deployment-id": "../../admin"},
        "x-portkey-azure-deployment-id",
    ),
    "Azure's version": (
        {"x-portkey-azure-api-version": "1&key=x"},
        "x-portkey-azure-api-version",
    ),
    "config by a way up": ({"x-portkey-config": "../events/hackathon"}, "x-portkey-config"),
    "config's url": ({"x-portkey-config": "https://evil.example/c"}, "x-portkey-config"),
    "config that is a list": (_config([{}]), "x-portkey-config"),
    "host in the config": (_config({"custom_host": "https://evil.example"}), "custom_host"),
    "host in a target": (_target(custom_host="https://evil.example"), "targets.1.custom_host"),
    "headers in a target": (_target(forward_headers=["host"]), "targets.1.forward_headers"),
    "key in a target": (_target(api_key="secret"), "targets.1.api_key"),
    "url in a target": (_target(virtual_key="http://evil"), "targets.1.virtual_key"),
    "line break in a target": (_target(provider="@one\r\nhost: evil"), "targets.1.provider"),
    "stream": (_target(override_params={"stream": True}), "targets.1.override_params"),
    "a name for a list": (_config({"targets": "all", "strategy": {"mode": "single"}}), "targets"),
    "true for 1": (_target(weight=True), "targets.1.weight"),
    "text for a number": (_config({"request_timeout": "5"}), "request_timeout"),
    "a number for a name": (_config({"virtual_key": 1}), "virtual_key"),
    "a part for a status": (_config({"retry": {"attempts": 1.5}}), "retry.attempts"),
    "below 0": (_target(weight=-1), "targets.1.weight"),
    "for ever": (_config({"request_timeout": 10**9}), "request_timeout"),
    "a thousand times": (_config({"retry": {"attempts": 1000}}), "retry.attempts"),
    "not a number": (_config('{"request_timeout": NaN}'), "NaN"),
    "beyond a double": (_config('{"request_timeout": 1e999}'), "too large"),
    "endless digits": (_config('{"request_timeout": ' + "9" * 5000 + "}"), "too large"),
    "twice": (_config('{"virtual_key": "one", "virtual_key": "two"}'), "twice"),
    "half a pair": (_config('{"override_params": {"user": "\\ud800"}}'), "surrogate"),
    "deep targets": (_config(_nested(6)), "5 deep"),
    "deep JSON": (_config('{"override_params": {"a": ' + "[" * 5000 + "]" * 5000 + "}}"), "deep"),
    "many targets": (
        _config({"strategy": {"mode": "fallback"}, "targets": _targets(51)}),
        "50 targets",
    ),
    "many values": (_config({"override_params": {"a": [0] * 2000}}), "2,000 values"),
    "long": (_config({"override_params": {"a": "a" * 32768}}), "32,768"),
}
