#!/bin/sh
# Runs seed.py with the packages of manage.py, in the project's .venv. "-" reads the outputs from stdin.
set -eu
cd "$(dirname "$0")/../.."
if [ $# = 0 ] && [ "${resources:-[]}" = "[]" ]; then
  exit 0
fi
if [ ! -x .venv/bin/python ]; then
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed.")'
  python3 -m venv .venv
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-manage.txt
exec .venv/bin/python infra/hooks/seed.py "$@"
