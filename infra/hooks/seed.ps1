# Runs seed.py with the packages of manage.py, in the project's .venv. "-" reads the outputs from stdin.
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true
Set-Location (Join-Path $PSScriptRoot '../..')
if ($args.Count -eq 0 -and (-not $env:resources -or $env:resources -eq '[]')) {
    exit 0
}
$python = '.venv/Scripts/python.exe'
if (-not (Test-Path $python)) {
    py -3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed.")'
    py -3 -m venv .venv
}
& $python -m pip install --quiet --disable-pip-version-check -r requirements-manage.txt
& $python infra/hooks/seed.py @args
exit $LASTEXITCODE
